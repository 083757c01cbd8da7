// The npm package as who adopts it gets it: packed, installed into a clean
// folder, and its README's own program run by Node's own WebSocket.

import assert from "node:assert/strict";
import { copyFile, mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import test, { before } from "node:test";
import { client } from "../client.mjs";
import { Program, until } from "../program.mjs";
import { NODE_22, ROOT, SECRET, adopterTest, folder, marked, run } from "./adopter.mjs";

const PACKAGE = path.join(ROOT, "gateway/web");
const TSC = path.join(ROOT, "tests/browser/node_modules/.bin/tsc");
const GONE_MS = 10_000;

let project;
before(async () => {
  project = await folder();
  await run("npm", ["pack", PACKAGE, "--pack-destination", project]);
  const [tarball] = (await readdir(project)).filter((name) => name.endsWith(".tgz"));
  await writeFile(path.join(project, "package.json"), '{"private": true, "type": "module"}');
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", `./${tarball}`], { cwd: project });
});

const installed = (file) => path.join(project, "node_modules/mingle-client", file);

test("the package holds the library, its types and its licence, and nothing of the page", async () => {
  const files = (await readdir(installed("."))).sort();
  const modules = (await readdir(PACKAGE)).filter((name) => /^mingle(-.*)?\.(js|d\.ts)$/.test(name));
  assert.deepEqual(files, [...modules, "LICENSE", "README.md", "package.json"].sort());
  assert.equal(await readFile(installed("LICENSE"), "utf8"), await readFile(path.join(ROOT, "LICENSE"), "utf8"));
  const { version } = JSON.parse(await readFile(installed("package.json"), "utf8"));
  const workspace = await readFile(path.join(ROOT, "Cargo.toml"), "utf8");
  assert.equal(version, /^version = "(.*)"$/m.exec(workspace)[1], "one version for all of Mingle");
});

test("a TypeScript project finds its types, and a fault in them", async () => {
  const sources = path.join(project, "typed");
  await mkdir(sources);
  const good = `import { Mingle, MingleError } from "mingle-client";
    import type { Message, MingleOptions } from "mingle-client";
    export const last = (messages: Message[]): number => messages.at(-1)?.seq ?? 0;
    export const open = (options: MingleOptions) => new Mingle(options).connect();
    export const again = (error: unknown) => error instanceof MingleError && error.retryable;`;
  await writeFile(path.join(sources, "good.ts"), good);
  await writeFile(path.join(sources, "bad.ts"), 'import type { Message } from "mingle-client"; export const seq = (m: Message): string => m.seq;');
  const options = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--types", ""];
  for (const resolution of [["--module", "nodenext"], ["--module", "esnext", "--moduleResolution", "bundler"]]) {
    const check = (file) => run(TSC, [...options, ...resolution, path.join(sources, file)], { cwd: project });
    await check("good.ts");
    await assert.rejects(check("bad.ts"), /TS2322/);
  }
});

adopterTest("the README's program is matched, talks, and goes on after the server was killed", async (mingle) => {
  const [wire, other] = [await mingle.wire(), await mingle.wire()];
  const program = path.join(project, "terminal.mjs");
  await writeFile(program, marked(await readFile(installed("README.md"), "utf8"), "js"));
  const ann = new Program(NODE_22, [program, "ann"], { cwd: project, env: { MINGLE_URL: wire.url } });
  const sees = (text) => until(`ann sees ${text}\n${ann.tail}`, () => ann.tail.includes(text));
  try {
    await sees("connected");
    const bob = client(other.url, "bob");
    await bob.connect();
    await bob.matchJoin("random-chat", { attributes: { gender: "other" } });
    await until("bob is matched", () => bob.told("matched").length === 1);
    const [{ roomId }] = bob.told("matched");
    await bob.roomJoin(roomId, { after: { seq: 0, id: "" } });
    await sees("you can talk: ann, bob");
    await bob.send(roomId, "hello ann");
    await sees("bob: hello ann");

    await mingle.kill();
    ann.order("are you still there?");
    const answer = bob.send(roomId, "sent while the server was dead");
    await mingle.start();
    await answer;
    await sees("resumed");
    await sees("bob: sent while the server was dead");
    await until("bob hears ann", () => bob.bodies.includes("are you still there?"));
    assert.equal(bob.bodies.filter((body) => body === "are you still there?").length, 1, "once");

    ann.hangUp();
    assert.equal(await ann.ends(GONE_MS), 0, "closed, it keeps no timer that keeps the program");
  } finally {
    await ann.kill();
  }
});

adopterTest("the program of the page for who comes from Socket.IO does as the page says", async (mingle) => {
  const { url } = await mingle.wire();
  const page = await readFile(path.join(ROOT, "gateway/from-socketio.md"), "utf8");
  await copyFile(path.join(ROOT, "services/client/examples/node/mint.mjs"), path.join(project, "mint.mjs"));
  await writeFile(path.join(project, "moved.mjs"), `${marked(page, "js mingle")}\nmingle.close();\n`);
  const said = await run(NODE_22, ["moved.mjs"], { cwd: project, env: { MINGLE_URL: url, MINGLE_JWT_SECRET: SECRET } });
  const lines = said.split("\n");
  const seqs = ["app it rains", "ann it snows", "ann Ann moved move"].map((text) => {
    const line = lines.find((found) => found.replace(/^\d+ /, "").trim() === text);
    assert.ok(line, `${text} in\n${said}`);
    return Number.parseInt(line, 10);
  });
  assert.deepEqual(seqs, seqs.toSorted((a, b) => a - b), "one order");
  assert.match(said, /^app is (OFFLINE|UNKNOWN)$/m);
});
