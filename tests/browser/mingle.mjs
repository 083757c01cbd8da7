// The server under test: a process on free ports, ended by its id, with a
// wire in front of it that can be cut and that outlives a restart.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { Wire } from "./wire.mjs";

/** How long a start may take on a busy machine before it counts as failed. */
const START_MS = 60_000;
/** The default grace period of the server: an exit after SIGTERM takes no longer. */
const GRACE_MS = 10_000;
const WAIT_MS = 20_000;
const TEST_MS = process.env.MINGLE_SOAK ? 900_000 : 120_000;
const TAIL_LINES = 60;
/** Quotas of what tests do more often than people may. */
const QUOTAS = ["RATELIMIT__LIMITS__CHAT_MESSAGE", "RATELIMIT__LIMITS__QUEUE_JOIN", "CHAT__LIMIT", "MATCHMAKING__LIMIT"];
/** The rest of the environment, with any MINGLE_* or DATABASE_URL, stays out of the test. */
const INHERITED = ["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE"];

/** Asks `probe` until it answers something true, which is returned. */
export async function until(what, probe, deadlineMs = WAIT_MS) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** One server on one data folder, which may be started and ended many times. */
export class Mingle {
  #child = null;
  #exit = null;
  #log = [];
  #ready = new Map();
  #data;
  #wires = [];

  /** Starts it on a new temporary folder. */
  static async start() {
    const mingle = new Mingle();
    mingle.#data = await mkdtemp(path.join(tmpdir(), "mingle-browser-"));
    try {
      await mingle.start();
    } catch (error) {
      await mingle.remove();
      throw error;
    }
    return mingle;
  }

  /** Starts it again on the same folder. The gateway's own port is another; its wires lead there. */
  async start() {
    const program = process.env.MINGLE_BIN;
    if (!program) throw new Error("MINGLE_BIN must name the program under test");
    const inherited = INHERITED.filter((key) => process.env[key] !== undefined).map((key) => [key, process.env[key]]);
    const listen = ["GATEWAY", "GRPC", "PROBES"].map((section) => [`MINGLE_${section}__LISTEN`, "127.0.0.1:0"]);
    const quotas = QUOTAS.map((limit) => [`MINGLE_${limit}__QUOTA`, "1000000"]);
    this.#ready.clear();
    this.#child = spawn(program, [], {
      cwd: this.#data,
      env: { ...Object.fromEntries([...inherited, ...listen, ...quotas]), MINGLE_DATA__DIR: this.#data },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#exit = new Promise((resolve, reject) => {
      this.#child.once("exit", (code, signal) => resolve({ code, signal }));
      this.#child.once("error", reject);
    });
    this.#exit.catch(() => {}); // told to who waits for it
    this.#read(this.#child.stdout, true);
    this.#read(this.#child.stderr, false);
    const gone = this.#exit.then(({ code }) => {
      throw new Error(`mingle exited with ${code} before it was ready\n${this.tail}`);
    });
    gone.catch(() => {});
    await Promise.race([gone, until("mingle is ready", () => this.#ready.has("mingle"), START_MS)]);
    for (const wire of this.#wires) wire.leadTo(Number(new URL(`http://${this.#ready.get("gateway")}`).port));
  }

  /** A new wire to the gateway, `{url, cut(), …}`. Each has an address of its own, which stays. */
  async wire() {
    const wire = await Wire.open(Number(new URL(`http://${this.#ready.get("gateway")}`).port));
    this.#wires.push(wire);
    return wire;
  }

  /** Asks it to end and waits until it has. Answers its exit code. */
  async terminate() {
    this.#child.kill("SIGTERM");
    let exit;
    void this.#exit.then((how) => (exit = how));
    await until("mingle exits within its grace period", () => exit, GRACE_MS);
    return exit.code;
  }

  /** Ends it without a word. */
  async kill() {
    this.#child.kill("SIGKILL");
    await this.#exit;
  }

  /** Ends everything and removes the data. */
  async remove() {
    for (const wire of this.#wires) await wire.close();
    if (this.#child?.exitCode === null && this.#child.signalCode === null) await this.kill();
    await rm(this.#data, { recursive: true, force: true });
  }

  /** The end of what it printed. */
  get tail() {
    return this.#log.slice(-TAIL_LINES).join("\n");
  }

  #read(stream, ready) {
    createInterface({ input: stream }).on("line", (line) => {
      this.#log.push(line);
      if (!ready || !line.startsWith("{")) return;
      const { ready: name, addr = "" } = JSON.parse(line);
      if (name) this.#ready.set(name, addr);
    });
  }
}

/** A test over a server of its own. When it fails, the end of the server's log is printed. */
export function serverTest(name, run) {
  test(name, { timeout: TEST_MS }, async (t) => {
    const mingle = await Mingle.start();
    try {
      await run(mingle, t);
    } catch (error) {
      console.error(`--- the end of the server's log ---\n${mingle.tail}`);
      throw error;
    } finally {
      await mingle.remove();
    }
  });
}
