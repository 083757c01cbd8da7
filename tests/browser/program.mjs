// A program as a child that says in lines of JSON what it has done.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const WAIT_MS = 20_000;
const TAIL_LINES = 60;
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

/** Which program the environment names: tests/run has built it. */
export function named(variable) {
  const program = process.env[variable];
  if (!program) throw new Error(`${variable} must name the program under test`);
  return program;
}

export class Program {
  #child;
  #exit;
  #log = [];
  #told = [];

  constructor(program, args, { cwd, env = {} } = {}) {
    const inherited = INHERITED.filter((key) => process.env[key] !== undefined).map((key) => [key, process.env[key]]);
    this.#child = spawn(program, args, { cwd, env: { ...Object.fromEntries(inherited), ...env }, stdio: "pipe" });
    this.#child.stdin.on("error", () => {}); // it is gone: its exit is told
    this.#exit = new Promise((resolve, reject) => {
      this.#child.once("exit", (code) => resolve(code));
      this.#child.once("error", reject);
    });
    this.#exit.catch(() => {}); // told to who waits for it
    this.#read(this.#child.stdout, true);
    this.#read(this.#child.stderr, false);
  }

  /** Waits for a line that `is` it, and answers all that were said since the last time, it the last. */
  async says(what, is, deadlineMs) {
    const gone = this.#exit.then((code) => {
      throw new Error(`it exited with ${code} and never said ${what}\n${this.tail}`);
    });
    gone.catch(() => {});
    await Promise.race([gone, until(`it says ${what}`, () => this.#told.some(is), deadlineMs)]);
    return this.#told.splice(0, this.#told.findIndex(is) + 1);
  }

  /** Writes a line to it. */
  order(line) {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Asks it to end. */
  terminate() {
    this.#child.kill("SIGTERM");
  }

  /** No more orders come. */
  hangUp() {
    this.#child.stdin.end();
  }

  /** Waits until it has ended. Answers its exit code. */
  async ends(deadlineMs) {
    let exit;
    void this.#exit.then((code) => (exit = { code }));
    await until("it exits", () => exit, deadlineMs);
    return exit.code;
  }

  /** Ends it without a word. */
  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGKILL");
    await this.#exit;
  }

  /** The end of what it printed. */
  get tail() {
    return this.#log.slice(-TAIL_LINES).join("\n");
  }

  #read(stream, told) {
    createInterface({ input: stream }).on("line", (line) => {
      if (told && line.startsWith("{")) this.#told.push(JSON.parse(line));
      this.#log.push(line);
    });
  }
}
