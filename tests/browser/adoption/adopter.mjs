// What who adopts Mingle has: a folder of their own, the programs of their
// language, and a Mingle that runs.

import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { after } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { OneProcess } from "../mingle.mjs";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
/** A Node with a WebSocket of its own. */
export const NODE_22 = process.env.MINGLE_NODE_22 ?? process.execPath;
/** What the tests' tokens are signed with. */
export const SECRET = "a secret of the adoption tests, 0123456789";
const RUN_MS = 60_000;
const TEST_MS = 120_000;

const folders = [];
after(async () => {
  for (const each of folders) await rm(each, { recursive: true, force: true });
});

/** A new empty folder, removed when the tests end. */
export async function folder() {
  const made = await mkdtemp(path.join(tmpdir(), "mingle-adopter-"));
  folders.push(made);
  return made;
}

/** Runs a program to its end and answers what it printed; rejects, with that, when it fails. */
export async function run(program, args, { cwd, env = {} } = {}) {
  try {
    const { stdout } = await promisify(execFile)(program, args, { cwd, env: { ...process.env, ...env }, timeout: RUN_MS });
    return stdout;
  } catch (error) {
    throw new Error(`${program} ${args.join(" ")}: ${error.message}\n${error.stdout}`);
  }
}

/** The blocks of code of a page of Markdown that are marked like this, one after the other. */
export function marked(markdown, mark) {
  const blocks = [...markdown.matchAll(/^```(.*)\n([^]*?)^```$/gm)].filter(([, found]) => found === mark);
  if (blocks.length === 0) throw new Error(`the page has no code marked ${mark}`);
  return blocks.map(([, , code]) => code).join("");
}

/** A test over one process with what `settings()` says. When it fails, the end of its log is printed. */
export function adopterTest(name, run, settings = () => ({})) {
  test(name, { timeout: TEST_MS }, async (t) => {
    const mingle = new OneProcess({ MINGLE_JWT_SECRET: SECRET, ...settings() });
    try {
      await mingle.start();
      await run(mingle, t);
    } catch (error) {
      console.error(`--- the end of the server's log ---\n${await mingle.tail().catch(() => "")}`);
      throw error;
    } finally {
      await mingle.remove();
    }
  });
}
