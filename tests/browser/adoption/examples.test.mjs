// The examples of services/client, each as its own first lines say to run it.

import assert from "node:assert/strict";
import { copyFile, symlink } from "node:fs/promises";
import path from "node:path";
import grpc from "@grpc/grpc-js";
import { client, devToken } from "../client.mjs";
import { Program, named } from "../program.mjs";
import { ROOT, SECRET, adopterTest, folder, run } from "./adopter.mjs";

const EXAMPLES = path.join(ROOT, "services/client/examples");
const PROTO = path.join(ROOT, "proto");
const QUOTA = 30;
const START_MS = 60_000;

/** What is at `url`, for who has this token. */
const read = (url, token) => fetch(url, { headers: { authorization: `Bearer ${token}` } });

/** Runs one of the programs that are servers; `use` is given its address. */
async function serving(name, args, env, use) {
  const program = new Program(path.join(named("MINGLE_EXAMPLES"), name), args, { env });
  try {
    const told = await program.says("listening", (line) => "listening" in line, START_MS);
    await use(told.at(-1).listening);
  } finally {
    await program.kill();
  }
}

/** Who the gateway takes the holder of a token for. */
async function known(url, getToken) {
  const user = client(url, "", { getToken });
  await user.connect();
  user.close();
  return user.userId;
}

for (const [language, program, file] of [["Node", process.execPath, "node/mint.mjs"], ["Python", "python3", "python/mint.py"]]) {
  adopterTest(`a token minted in ${language} is its user's; with another secret it is nobody's`, async (mingle) => {
    const { url } = await mingle.wire();
    const mint = async (secret) => (await run(program, [path.join(EXAMPLES, file), "ann"], { env: { MINGLE_JWT_SECRET: secret } })).trim();
    const token = await mint(SECRET);
    assert.equal(await known(url, () => token), "ann");
    assert.equal((await read(`${url}/api/rooms`, token)).status, 200);
    const forged = await read(`${url}/api/rooms`, await mint(`${SECRET}!`));
    assert.deepEqual([forged.status, (await forged.json()).reason], [401, "TOKEN_INVALID"]);
  });
}

adopterTest("the axum application mints tokens for who has signed in, and for nobody else", async (mingle) => {
  const { url } = await mingle.wire();
  await serving("tokens", ["127.0.0.1:0"], { MINGLE_JWT_SECRET: SECRET }, async (address) => {
    const ask = (cookie) => fetch(`http://${address}/token`, { method: "POST", headers: { cookie } });
    assert.equal((await ask("session=guessed")).status, 401);
    assert.equal(await known(url, async () => (await ask("theme=dark; session=9d2b47")).json()), "bob");
  });
});

adopterTest("the tonic server answers a user so often in a minute, and others meanwhile", async (mingle) => {
  await serving("rate_limited", [`http://${mingle.address("grpc")}`, "127.0.0.1:0"], {}, async (address) => {
    const channel = new grpc.Client(address, grpc.credentials.createInsecure());
    const call = (user) =>
      new Promise((resolve) => {
        const metadata = new grpc.Metadata();
        metadata.set("x-user-id", user);
        const empty = Buffer.alloc(0);
        channel.makeUnaryRequest("/grpc.health.v1.Health/Check", () => empty, () => empty, empty, metadata, (error) => resolve(error));
      });
    let admitted = 0;
    let denied;
    while (!denied && admitted <= 2 * QUOTA) {
      denied = await call("ann");
      if (!denied) admitted += 1;
    }
    // What Mingle did not answer in time is counted by the server alone: never more strictly.
    assert.ok(admitted >= QUOTA && denied, `${admitted} were admitted`);
    assert.equal(denied.code, grpc.status.RESOURCE_EXHAUSTED);
    assert.match(denied.metadata.get("ratelimit-policy")[0], /"rankings";q=30;w=60/);
    assert.equal(await call("bob"), null, "bob has not asked yet");
    channel.close();
  });
});

/** The messages of the robot's lobby, as the gateway tells them, which the examples did not ask. */
async function lobby(url) {
  const { token } = await devToken(url, "robot");
  const { rooms } = await (await read(`${url}/api/rooms`, token)).json();
  assert.equal(rooms.length, 1, "the external id makes it one room");
  const { messages } = await (await read(`${url}/api/rooms/${rooms[0].roomId}/messages`, token)).json();
  return messages.map(({ senderId, body }) => `${senderId}: ${body}`);
}

/** What a Python example prints, with the code that its first lines make of one part's .proto. */
async function runPython(file, part, target) {
  const cwd = await folder();
  const env = { PYTHONPATH: named("MINGLE_PYTHON_PACKAGES"), PYTHONDONTWRITEBYTECODE: "1" };
  await copyFile(path.join(EXAMPLES, "python", file), path.join(cwd, file));
  const compile = ["-m", "grpc_tools.protoc", "-I", PROTO, "--python_out=.", "--grpc_python_out=."];
  await run("python3", [...compile, `mingle/${part}/v1/${part}.proto`], { cwd, env });
  return run("python3", [file, target], { cwd, env });
}

adopterTest("of many threads of a Python server one loads what is not in the cache", async (mingle) => {
  const said = await runPython("cached.py", "cache", mingle.address("grpc"));
  assert.match(said, /^read by 50 loaded 1$/m);
  assert.match(said, /^APPLIED_DONE$/m);
  assert.match(said, /^loaded anew .*'loads': 2/m);
  assert.match(said, /^refused INVALID_ARGUMENT key/m);
});

adopterTest("a Python and a Node server talk in a room over gRPC, with the published .proto files", async (mingle) => {
  const { url } = await mingle.wire();
  const target = mingle.address("grpc");

  const heard = await runPython("talk.py", "chat", target);
  assert.match(heard, /^heard \d+$/m);
  assert.match(heard, /^\d+ robot hello from Python$/m);
  assert.match(heard, /^refused INVALID_ARGUMENT /m);

  const node = await folder();
  await copyFile(path.join(EXAMPLES, "node/talk.mjs"), path.join(node, "talk.mjs"));
  await symlink(path.join(ROOT, "tests/browser/node_modules"), path.join(node, "node_modules"));
  const said = await run(process.execPath, ["talk.mjs", target, PROTO], { cwd: node });
  assert.match(said, /^said \d+ once$/m);
  assert.match(said, /^\d+ robot hello from Python$/m);
  assert.match(said, /^ann STATUS_(OFFLINE|UNKNOWN)$/m);
  assert.match(said, /^refused INVALID_ARGUMENT /m);

  assert.deepEqual(await lobby(url), ["robot: hello from Python", "robot: hello from Node"]);
});
