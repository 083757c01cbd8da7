// A TCP proxy with an address that stays while servers come and go behind it,
// and that can be cut: at once, or after some bytes to the client.

import net from "node:net";

export class Wire {
  #server;
  #target = 0;
  #pairs = new Set();
  #severed = false;
  #budget = () => Infinity;

  /** How many connections were cut with both ends still there. */
  cuts = 0;
  /** How many connections went through to the server. */
  joins = 0;

  static async open(port) {
    const wire = new Wire();
    wire.#target = port;
    wire.#server = net.createServer((near) => wire.#join(near));
    await new Promise((resolve) => wire.#server.listen(0, "127.0.0.1", resolve));
    return wire;
  }

  /** Where clients go. */
  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** New connections go to this port. */
  leadTo(port) {
    this.#target = port;
  }

  /** Cuts every connection there is. */
  cut() {
    for (const pair of [...this.#pairs]) this.#sever(pair);
  }

  /** Cuts every connection, and each new one, until `mend`. */
  down() {
    this.#severed = true;
    this.cut();
  }

  mend() {
    this.#severed = false;
  }

  /** Each new connection is cut after `budget()` bytes to the client; undefined: never. */
  cutAfter(budget = () => Infinity) {
    this.#budget = budget;
  }

  async close() {
    this.down();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(near) {
    near.on("error", () => {});
    if (this.#severed) return void near.resetAndDestroy();
    const far = net.connect(this.#target, "127.0.0.1");
    this.joins += 1;
    const pair = { near, far, left: this.#budget() };
    this.#pairs.add(pair);
    near.pipe(far);
    far.on("data", (bytes) => this.#pass(pair, bytes));
    far.on("end", () => near.end());
    near.on("drain", () => far.resume());
    far.on("error", () => near.destroy());
    for (const end of [near, far]) {
      end.on("close", () => {
        this.#pairs.delete(pair);
        near.destroy();
        far.destroy();
      });
    }
  }

  // The bytes before the cut arrive, so that it is in the middle of a frame.
  #pass(pair, bytes) {
    if (bytes.length < pair.left) {
      pair.left -= bytes.length;
      if (!pair.near.write(bytes)) pair.far.pause();
      return;
    }
    const last = bytes.subarray(0, pair.left);
    pair.far.pause();
    pair.near.write(last, () => this.#sever(pair));
  }

  #sever(pair) {
    if (!this.#pairs.delete(pair)) return;
    this.cuts += 1;
    pair.near.destroy();
    pair.far.destroy();
  }
}
