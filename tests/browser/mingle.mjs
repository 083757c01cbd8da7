// The system under test, ended by its id, with wires in front of it that can
// be cut and that outlive a restart. MINGLE_TEST_DEPLOYMENT says which: one
// process, or `processes` over one Redis and one PostgreSQL with two gateways,
// or `envoy`, the same with an Envoy before the services. No test is left out. With
// `nginx` or `haproxy` that stands before the gateways, and all wires lead there.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { Program, named, until } from "./program.mjs";
import { Wire } from "./wire.mjs";

export { until };

/** How long a start may take on a busy machine before it counts as failed. */
const START_MS = 60_000;
/** The default grace period of the server: an exit after SIGTERM takes no longer. */
const GRACE_MS = 10_000;
const TEST_MS = process.env.MINGLE_SOAK ? 900_000 : 120_000;
/** Quotas of what tests do more often than people may. */
const QUOTAS = [
  "RATELIMIT__LIMITS__CHAT_MESSAGE",
  "RATELIMIT__LIMITS__QUEUE_JOIN",
  "RATELIMIT__LIMITS__AUTH",
  "RATELIMIT__LIMITS__API",
  "CHAT__LIMIT",
  "MATCHMAKING__LIMIT",
  "GATEWAY__CLASSES__AUTH",
  "GATEWAY__CLASSES__API",
];
const SHAPE = process.env.MINGLE_TEST_DEPLOYMENT;

const isReady = ({ ready }) => ready === "mingle";

/** What both kinds have: gateways, and wires that lead to them in turn. */
class Gateways {
  #ports = [];
  #wires = [];
  #addresses = {};

  /** A new wire, `{url, cut(), …}`, to the gateway after that of the wire before: two users who come one after the other are at different ones. */
  async wire() {
    const wire = await Wire.open(this.#port(this.#wires.length));
    this.#wires.push(wire);
    return wire;
  }

  /** Every gateway was come to, where at least two came. */
  assertUsed() {
    const came = (wire) => wire.joins > 0;
    const used = this.#ports.map((_, at) => this.#wires.filter((wire, turn) => turn % this.#ports.length === at && came(wire)).length);
    if (this.#wires.filter(came).length > 1) assert.ok(!used.includes(0), `connections to the gateways: ${used}`);
  }

  /** Where the listener of this name is, as `host:port`; of several the last. */
  address(listener) {
    return this.#addresses[listener];
  }

  lead(told) {
    this.#addresses = Object.fromEntries(told.map(({ ready, addr }) => [ready, addr]));
    this.#ports = told.filter(({ ready }) => ready === "gateway").map(({ addr }) => Number(new URL(`http://${addr}`).port));
    this.#wires.forEach((wire, turn) => wire.leadTo(this.#port(turn)));
  }

  async close() {
    for (const wire of this.#wires) await wire.close();
  }

  #port(turn) {
    return this.#ports[turn % this.#ports.length];
  }
}

/** One server on one data folder, which may be started and ended many times. */
export class OneProcess extends Gateways {
  #program = null;
  #data = null;
  #settings;

  /** `settings` are environment variables, over those of the tests. */
  constructor(settings = {}) {
    super();
    this.#settings = settings;
  }

  /** Starts it, at first on a new temporary folder. The gateway's own port is another each time; its wires lead there. */
  async start() {
    this.#data ??= await mkdtemp(path.join(tmpdir(), "mingle-browser-"));
    const listen = ["GATEWAY", "GRPC", "PROBES"].map((section) => [`MINGLE_${section}__LISTEN`, "127.0.0.1:0"]);
    const quotas = QUOTAS.map((limit) => [`MINGLE_${limit}__QUOTA`, "1000000"]);
    const env = { ...Object.fromEntries([...listen, ...quotas]), MINGLE_DATA__DIR: this.#data, ...this.#settings };
    this.#program = new Program(named("MINGLE_BIN"), [], { cwd: this.#data, env });
    this.lead(await this.#program.says("ready", isReady, START_MS));
  }

  /** Asks it to end and waits until it has. Answers its exit code. */
  async terminate() {
    this.#program.terminate();
    return this.#program.ends(GRACE_MS);
  }

  /** Ends it without a word. */
  async kill() {
    await this.#program.kill();
  }

  /** Ends everything and removes the data. */
  async remove() {
    await this.close();
    await this.#program?.kill();
    if (this.#data) await rm(this.#data, { recursive: true, force: true });
  }

  /** The end of what it printed. */
  async tail() {
    return this.#program.tail;
  }

  async assertMeshed() {}
}

/** Many processes, which may be started and ended many times on the same servers. */
class Deployment extends Gateways {
  #program = null;

  async start() {
    if (this.#program) this.#program.order("start");
    const shape = SHAPE === "processes" ? [] : [`--${SHAPE}`];
    this.#program ??= new Program(named("MINGLE_DEPLOYMENT_BIN"), [...shape, "--mingle", named("MINGLE_BIN")]);
    this.lead(await this.#program.says("ready", isReady, 2 * START_MS));
  }

  /** Asks all to end, gateways first, and waits until they have. Answers the exit code of those that were not well, or 0. */
  async terminate() {
    const { exited } = await this.#ask("terminate", "exited");
    assert.ok(exited.length > 2, `exit codes ${exited}`);
    return exited.find((code) => code !== 0) ?? 0;
  }

  async kill() {
    await this.#ask("kill", "killed");
  }

  /** Ends one of the two without a word; `start` starts its successor at its place. */
  async killGateway(nth) {
    await this.#ask(`kill gateway ${nth}`, "killed");
  }

  /** How many sockets each gateway holds; one that does not run, null. */
  async sockets() {
    return (await this.#ask("sockets", "sockets")).sockets;
  }

  /** Redis takes what it is sent and answers nothing, until it thaws. */
  async freeze() {
    await this.#ask("freeze", "frozen");
  }

  async thaw() {
    await this.#ask("thaw", "thawed");
  }

  async remove() {
    await this.close();
    this.#program?.hangUp();
    await this.#program?.ends(START_MS);
  }

  async tail() {
    return `${this.#program.tail}\n${(await this.#ask("logs", "logs")).logs}`;
  }

  /** Where an Envoy stands between, each service was called through it. */
  async assertMeshed() {
    if (SHAPE !== "envoy") return;
    const { requests } = await this.#ask("requests", "requests");
    assert.ok(Object.keys(requests).length > 2, "it tells of all services");
    for (const [service, passed] of Object.entries(requests)) assert.ok(passed.some((count) => count > 0), `${service} through envoy: ${passed}`);
  }

  async #ask(order, answer) {
    this.#program.order(order);
    const told = await this.#program.says(answer, (line) => answer in line, START_MS);
    return told.at(-1);
  }
}

/** A test over a system of its own. When it fails, the end of its log is printed. */
export function serverTest(name, run) {
  test(name, { timeout: TEST_MS }, async (t) => {
    const mingle = SHAPE ? new Deployment() : new OneProcess();
    try {
      await mingle.start();
      await run(mingle, t);
      mingle.assertUsed();
      await mingle.assertMeshed();
    } catch (error) {
      console.error(`--- the end of the server's log ---\n${await mingle.tail().catch(() => "")}`);
      throw error;
    } finally {
      await mingle.remove();
    }
  });
}
