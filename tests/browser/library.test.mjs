// The client library against a gateway that misbehaves as scripted.

import assert from "node:assert/strict";
import test from "node:test";
import { CLOSE, MingleError } from "../../gateway/web/mingle.js";
import { closeRule, errorOf, jitter, toNumbers } from "../../gateway/web/mingle-wire.js";
import { until } from "./mingle.mjs";
import { Scripted } from "./scripted.mjs";

const TEST_MS = 30_000;
const ROOM = "room";

/** A test with a scripted gateway. `client` makes one and connects it. */
function scriptedTest(name, run) {
  test(name, { timeout: TEST_MS }, async () => {
    const gateway = await Scripted.open();
    const client = async (user, options) => {
      const made = gateway.client(user, options);
      await made.connect();
      return made;
    };
    try {
      await run(gateway, client);
    } finally {
      await gateway.end();
    }
  });
}

test("each close code has its retry rule, an unknown one is retried", () => {
  const rules = Object.entries(CLOSE).map(([name, code]) => [name, code, closeRule(code)]);
  assert.deepEqual(rules, [
    ["UNAUTHENTICATED", 4001, "refresh"],
    ["TOKEN_EXPIRED", 4002, "renew"],
    ["ORIGIN_NOT_ALLOWED", 4003, "never"],
    ["HELLO_TIMEOUT", 4004, "retry"],
    ["TOO_MANY_CONNECTIONS", 4005, "never"],
    ["IDLE", 4006, "retry"],
    ["PROTOCOL_ERROR", 4007, "never"],
    ["SLOW", 4008, "retry"],
    ["SUPERSEDED", 4009, "never"],
    ["DRAINING", 4010, "retry"],
    ["OVERLOADED", 4011, "retry"],
  ]);
  for (const code of [1001, 1006, 1011, 4999]) assert.equal(closeRule(code), "retry");
});

test("back-off is full jitter below base·2^attempt and the cap", () => {
  const waits = (random) => [0, 1, 2, 6, 60].map((attempt) => jitter({ baseMs: 100, capMs: 5000, random: () => random }, attempt));
  assert.deepEqual(waits(0), [0, 0, 0, 0, 0]);
  assert.deepEqual(waits(0.5), [50, 100, 200, 2500, 2500]);
});

test("64-bit fields become numbers; what is no safe integer and what users named does not", () => {
  const told = { seq: "7", headSeq: "", users: ["1"], metadata: { seq: "8" }, deep: [{ waiting: "9" }], unread: "9007199254740993" };
  assert.deepEqual(toNumbers(told), { seq: 7, headSeq: "", users: ["1"], metadata: { seq: "8" }, deep: [{ waiting: 9 }], unread: "9007199254740993" });
});

for (const code of [4003, 4005, 4007, 4009]) {
  scriptedTest(`close ${code} is final, until asked to connect again`, async (gateway, client) => {
    const ann = await client("ann");
    gateway.close("ann", code);
    await until("closed", () => ann.state === "closed");
    assert.equal(ann.told("state").at(-1).error.closeCode, code);
    await assert.rejects(ann.send(ROOM, "x"), (error) => error instanceof MingleError && error.closeCode === code);
    await ann.connect();
    assert.ok((await ann.ping()) >= 0);
  });
}

for (const code of [undefined, 1011, 4004, 4006, 4008, 4010, 4011]) {
  scriptedTest(`close ${code ?? "without a frame"} is retried with the same token`, async (gateway, client) => {
    const ann = await client("ann");
    gateway.close("ann", code);
    await until("open again", () => ann.times("open") === 2);
    assert.equal(ann.tokens(), 1);
  });
}

scriptedTest("what was degraded at a gateway that is gone is well at the next, unless it says otherwise", async (gateway, client) => {
  const ann = await client("ann");
  const states = () => ann.told("degraded").map((told) => told.states.join());
  gateway.tell("ann", { degraded: { states: ["presence"] } });
  await until("it is told", () => states().length === 1);
  gateway.close("ann");
  await until("open again", () => ann.times("open") === 2);
  assert.deepEqual(states(), ["presence", ""]);
  gateway.close("ann");
  await until("open once more", () => ann.times("open") === 3);
  assert.deepEqual(states(), ["presence", ""], "nothing new to tell");
});

scriptedTest("a token that ended is renewed each time, one that is refused once", async (gateway, client) => {
  const ann = await client("ann");
  for (const [code, tokens] of [[4002, 2], [4001, 3], [4002, 4]]) {
    gateway.close("ann", code);
    await until("open again", () => ann.times("open") === tokens);
    assert.equal(ann.tokens(), tokens);
  }
  gateway.script.hello = ({ error }) => error({ code: "UNAUTHENTICATED", reason: "TOKEN_INVALID" }) ?? true;
  gateway.close("ann", 4001);
  await until("given up", () => ann.state === "closed");
  assert.equal(ann.tokens(), 5, "one new token was tried");
  assert.equal(ann.told("state").at(-1).error.reason, "TOKEN_INVALID");
});

scriptedTest("what getToken throws is told, and asked for again when it says, not before", async (gateway) => {
  const faults = [new TypeError("no way there"), new MingleError({ code: "RESOURCE_EXHAUSTED", reason: "RATE_LIMITED", retryAfterMs: 300 })];
  let asked = 0;
  const ann = gateway.client("ann", {
    getToken: () => {
      if (faults[asked++]) throw faults[asked - 1];
      return "ann 1";
    },
  });
  const opened = ann.connect();
  await until("refused", () => asked === 2);
  const since = Date.now();
  ann.wake();
  await opened;
  assert.ok(Date.now() - since >= 250, "someone who wakes waits too");
  const waits = ann.told("state").filter(({ state }) => state === "reconnecting");
  assert.deepEqual(waits.map(({ error }) => error), faults);
  assert.ok(waits[1].retryInMs >= 300, `${waits[1].retryInMs} ms`);
  gateway.close("ann");
  await until("away", () => ann.times("reconnecting") === 3);
  assert.equal(ann.told("state").findLast(({ state }) => state === "reconnecting").error, null, "a lost connection is no refusal");
});

scriptedTest("a hello that is refused for now tells why it waits", async (gateway) => {
  let refused = 0;
  gateway.script.hello = ({ error }) => refused++ === 0 && (error({ code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED", retryAfterMs: 50 }) ?? true);
  const ann = gateway.client("ann");
  await ann.connect();
  const { error, retryInMs } = ann.told("state").find(({ state }) => state === "reconnecting");
  assert.equal(error.reason, "OVERLOADED");
  assert.ok(retryInMs >= 50, `${retryInMs} ms`);
});

scriptedTest("a request over its limit says that it waits, and how long", async (gateway, client) => {
  const ann = await client("ann");
  await ann.roomJoin(ROOM);
  let refused = 0;
  gateway.script.send = ({ error }) => refused++ === 0 && (error({ code: "RESOURCE_EXHAUSTED", reason: "RATE_LIMITED", retryAfterMs: 40 }) ?? true);
  await ann.send(ROOM, "x", { clientMsgId: "key" });
  const [{ kind, roomId, clientMsgId, retryInMs, error }] = ann.told("limited");
  assert.deepEqual([kind, roomId, clientMsgId, error.reason], ["send", ROOM, "key", "RATE_LIMITED"]);
  assert.ok(retryInMs >= 40, `${retryInMs} ms`);
});

test("an HTTP answer is its problem, or what its status and Retry-After say", async () => {
  const told = async (status, body, headers) => {
    const { code, reason, message, retryAfterMs } = await errorOf(new Response(body, { status, headers }));
    return [code, reason, message, retryAfterMs];
  };
  const problem = JSON.stringify({ code: "UNAVAILABLE", reason: "UNAVAILABLE", message: "wait", retryAfterMs: 1500 });
  assert.deepEqual(await told(503, problem, { "retry-after": "2" }), ["UNAVAILABLE", "UNAVAILABLE", "wait", 1500]);
  assert.deepEqual(await told(429, "slow down", { "retry-after": "7" }), ["RESOURCE_EXHAUSTED", "RATE_LIMITED", "HTTP 429", 7000]);
  assert.deepEqual(await told(502, "<html>", {}), ["UNAVAILABLE", "UNAVAILABLE", "HTTP 502", 0]);
  assert.deepEqual(await told(418, "", { "retry-after": "never" }), ["UNKNOWN", "", "HTTP 418", 0]);
  const [, , , wait] = await told(429, "", { "retry-after": new Date(Date.now() + 60_000).toUTCString() });
  assert.ok(wait > 50_000 && wait <= 60_000, `${wait} ms`);
});

scriptedTest("a fixed token that is refused is an error at once", async (gateway) => {
  gateway.script.hello = ({ error }) => error({ code: "UNAUTHENTICATED", reason: "TOKEN_INVALID" }) ?? true;
  const ann = gateway.client("ann", { getToken: undefined, token: "ann 0" });
  await assert.rejects(ann.connect(), { reason: "TOKEN_INVALID" });
  assert.equal(ann.state, "closed");
});

scriptedTest("draining: the told delay is all there is to wait", async (gateway, client) => {
  const ann = await client("ann");
  gateway.tell("ann", { draining: { retryAfterMs: 30_000 } });
  await until("told", () => ann.told("draining").length === 1);
  gateway.close("ann", 4010);
  const { retryInMs } = await until("reconnecting", () => ann.told("state").find(({ state }) => state === "reconnecting"));
  assert.ok(retryInMs > 25_000 && retryInMs <= 30_000, `${retryInMs} ms`);
  ann.wake();
  await until("not longer than someone asks", () => ann.times("open") === 2);
});

scriptedTest("a server that drains and forgets to close is left", async (gateway, client) => {
  const ann = await client("ann");
  gateway.tell("ann", { draining: { retryAfterMs: 50 } });
  await until("open again", () => ann.times("open") === 2);
});

scriptedTest("silence is asked about, and then left", async (gateway, client) => {
  gateway.pingIntervalMs = 1000;
  gateway.script.ping = () => gateway.count("ping") > 1;
  const ann = await client("ann", { pongTimeoutMs: 500 });
  await until("open again", () => ann.times("open") === 2);
  assert.ok(gateway.count("ping") >= 2, "the first ping was answered, the second was not");
});

scriptedTest("what waits for an outage goes on when that ends, once and in order; what waits for a limit does not", async (gateway, client) => {
  const ann = await client("ann");
  for (const room of [ROOM, "limited"]) await ann.roomJoin(room);
  const refusals = { [ROOM]: { code: "UNAVAILABLE", reason: "UNAVAILABLE" }, limited: { code: "RESOURCE_EXHAUSTED", reason: "RATE_LIMITED" } };
  gateway.script.send = ({ body, error }) => error({ ...refusals[body.roomId], retryAfterMs: 60_000 }) ?? true;
  const tell = (...causes) => gateway.tell("ann", { degraded: { states: ["chat", "presence"], parts: [{ name: "chat", unavailable: false, causes }, { name: "presence", unavailable: true, causes: [] }] } });
  tell("database", "notifications");
  const sent = ["1", "2", "3"].map((body) => ann.send(ROOM, body));
  ann.send("limited", "x").catch(() => {});
  await until("both are refused", () => gateway.count("send") === 2);
  gateway.script = {};
  // Another part is well again; then this one is, and something of it stays away.
  gateway.tell("ann", { degraded: { states: ["chat"], parts: [{ name: "chat", unavailable: false, causes: ["database", "notifications"] }] } });
  await ann.ping();
  tell("notifications");
  await Promise.all(sent);
  assert.deepEqual(gateway.log(ROOM).events.map(({ event }) => event.body), ["1", "2", "3"]);
  const keys = gateway.asked.filter(({ kind, body }) => kind === "send" && body.body === "1").map(({ body }) => body.clientMsgId);
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
  gateway.tell("ann", { degraded: { states: [], parts: [] } });
  await ann.ping();
  assert.equal(ann.pending, 1, "the limit has not ended");
  assert.equal(gateway.log("limited").events.length, 0);
});

scriptedTest("a search that waits for matchmaking goes on when that is well, not when chat is", async (gateway, client) => {
  let random = 0;
  const ann = await client("ann", { requestTimeoutMs: 600_000, random: () => random });
  gateway.script.matchJoin = ({ error }) => error({ code: "UNAVAILABLE", reason: "UNAVAILABLE", retryAfterMs: 60_000 }) ?? true;
  gateway.tell("ann", { degraded: { states: ["chat", "matchmaking"] } });
  const joined = ann.matchJoin("random-chat");
  await until("refused", () => gateway.count("matchJoin") === 1);
  gateway.script.matchJoin = ({ reply }) => reply({ ticket: { ticketId: "t", state: "WAITING", matchId: "", roomId: "" } }) ?? true;
  gateway.tell("ann", { degraded: { states: ["matchmaking"] } });
  await ann.ping();
  const since = Date.now();
  await until("it would have gone on", () => Date.now() - since > 100);
  assert.equal(gateway.count("matchJoin"), 1);
  random = 0.5;
  gateway.tell("ann", { degraded: { states: [] } });
  assert.equal((await joined).ticketId, "t");
  assert.ok(Date.now() - since >= 1000, "not at the same moment as everybody");
  ann.close();
});

scriptedTest("a hole that could not be filled in an outage is filled when that ends", async (gateway, client) => {
  const bob = await client("bob");
  const ann = await client("ann", { backoffBaseMs: 300_000, backoffCapMs: 300_000, requestTimeoutMs: 200 });
  for (const each of [ann, bob]) await each.roomJoin(ROOM);
  gateway.tell("ann", { degraded: { states: ["chat"], parts: [{ name: "chat", unavailable: true, causes: [] }] } });
  gateway.script.roomJoin = ({ error }) => error({ code: "UNAVAILABLE", reason: "UNAVAILABLE", retryAfterMs: 300 }) ?? true;
  gateway.holes = 1;
  await bob.send(ROOM, "missed");
  gateway.tell("ann", { gap: { roomId: ROOM } });
  await until("refused", () => gateway.count("roomJoin") === 3);
  await ann.ping();
  gateway.script = {};
  gateway.tell("ann", { degraded: { states: [], parts: [] } });
  await until("told", () => ann.bodies.join() === "missed");
  assert.equal(ann.told("reset").length, 0);
});

scriptedTest("who is answered UNAVAILABLE is back within seconds, however large the back-off", async (gateway, client) => {
  const ann = await client("ann", { backoffBaseMs: 300_000, backoffCapMs: 300_000, random: () => 0.99 });
  await ann.roomJoin(ROOM);
  let refused = 0;
  gateway.script.send = ({ error }) => refused++ === 0 && (error({ code: "UNAVAILABLE", reason: "UNAVAILABLE", retryAfterMs: 300 }) ?? true);
  await ann.send(ROOM, "1");
  assert.equal(gateway.count("send"), 2);
});

/** Lets the gateway say nothing from now on, until somebody dials again. */
function freeze(gateway) {
  let frozen = true;
  for (const kind of ["ping", "send"]) gateway.script[kind] = () => frozen;
  gateway.script.hello = () => (frozen = false);
}

scriptedTest("a gateway that stands still is left when it answers no ping before a request", async (gateway, client) => {
  const ann = await client("ann", { pongTimeoutMs: 500 });
  await ann.roomJoin(ROOM);
  const since = Date.now();
  await until("it was quiet for a moment", () => Date.now() - since > 1100);
  freeze(gateway);
  const sent = await Promise.all(["1", "2"].map((body) => ann.send(ROOM, body)));
  assert.equal(ann.times("open"), 2);
  assert.deepEqual(sent.map(({ seq }) => seq), [1, 2]);
  const asked = gateway.asked.map(({ kind }) => kind);
  assert.deepEqual(asked, ["hello", "roomJoin", "ping", "send", "hello", "send", "send"], "not asked again on the dead socket");
});

scriptedTest("a gateway that stands still just after it answered is left after the time of a call", async (gateway, client) => {
  const ann = await client("ann");
  await ann.roomJoin(ROOM);
  freeze(gateway);
  await ann.send(ROOM, "1");
  assert.equal(ann.times("open"), 2);
  assert.equal(gateway.log(ROOM).events.length, 1);
});

scriptedTest("a service that is slow behind a gateway that answers is waited for", async (gateway, client) => {
  const ann = await client("ann", { pongTimeoutMs: 200 });
  await ann.roomJoin(ROOM);
  const since = Date.now();
  await until("it was quiet for a moment", () => Date.now() - since > 1100);
  // Whatever comes behind the request waits for it, a ping too.
  const behind = [];
  gateway.script.ping = ({ reply }) => gateway.count("send") > 0 && behind.push(() => reply({ pong: {} })) > 0;
  gateway.script.send = ({ reply }) => {
    const done = () => reply({ sent: { messageId: "m", seq: "1", sentAt: "", traceId: "" } });
    setTimeout(() => [done, ...behind].forEach((answer) => answer()), 3000);
    return true;
  };
  const pinged = [ann.send(ROOM, "1"), ann.ping()];
  await Promise.all(pinged);
  assert.equal(ann.times("open"), 1);
  assert.deepEqual(gateway.asked.map(({ kind }) => kind), ["hello", "roomJoin", "ping", "send", "ping"]);
});

scriptedTest("lost replies and passing errors: sent again with the same key, in order", async (gateway, client) => {
  const ann = await client("ann", { requestTimeoutMs: 200 });
  await ann.roomJoin(ROOM);
  const troubles = [
    ({ error }) => error({ code: "UNAVAILABLE", reason: "UNAVAILABLE" }),
    ({ error }) => error({ code: "RESOURCE_EXHAUSTED", reason: "RATE_LIMITED", retryAfterMs: 20 }),
    () => {}, // neither done nor answered
    ({ user, body }) => gateway.said(user, body), // done, and the answer lost
  ];
  gateway.script.send = (ask) => {
    const trouble = troubles.shift();
    trouble?.(ask);
    return trouble !== undefined;
  };
  const sent = await Promise.all(["1", "2", "3"].map((body) => ann.send(ROOM, body)));
  assert.deepEqual(sent.map(({ seq }) => seq), [1, 2, 3]);
  assert.deepEqual(gateway.log(ROOM).events.map(({ event }) => event.body), ["1", "2", "3"]);
  const first = gateway.asked.filter(({ kind, body }) => kind === "send" && body.body === "1");
  assert.equal(first.length, 5);
  assert.equal(new Set(first.map(({ body }) => body.clientMsgId)).size, 1, "always the same key");
});

scriptedTest("an error that will not pass, and a frame too large, are told at once", async (gateway, client) => {
  const ann = await client("ann");
  gateway.script.send = ({ error }) => error({ code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED" }) ?? true;
  await assert.rejects(ann.send(ROOM, "x"), { code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED", retryable: false });
  await assert.rejects(ann.send(ROOM, "x".repeat(70_000)), { reason: "FRAME_TOO_LARGE" });
  assert.equal(gateway.count("send"), 1);
  gateway.script.send = () => true;
  const large = ann.send(ROOM, "large");
  await until("under way", () => gateway.count("send") === 2);
  gateway.close("ann", 1009);
  await assert.rejects(large, { reason: "FRAME_TOO_LARGE" });
  await until("open again", () => ann.times("open") === 2);
});

scriptedTest("the backlog is bounded, and goes out in order", async (gateway, client) => {
  const ann = await client("ann", { backlogLimit: 3 });
  gateway.script.hello = ({ socket }) => socket.terminate() ?? true;
  gateway.close("ann");
  await until("away", () => ann.state === "reconnecting");
  const kept = ["1", "2", "3"].map((body) => ann.send(ROOM, body));
  await assert.rejects(ann.send(ROOM, "4"), { reason: "BACKLOG_FULL" });
  assert.equal(ann.pending, 3);
  gateway.script = {};
  await Promise.all(kept);
  assert.deepEqual(gateway.log(ROOM).events.map(({ event }) => event.body), ["1", "2", "3"]);
});

scriptedTest("holes and gaps are filled from the last place", async (gateway, client) => {
  const [ann, bob] = [await client("ann"), await client("bob")];
  for (const each of [ann, bob]) await each.roomJoin(ROOM);
  gateway.holes = 2;
  for (const body of ["a", "b", "c"]) await bob.send(ROOM, body);
  await until("the hole before c is filled", () => ann.bodies.join("") === "abc");
  gateway.holes = 1;
  await bob.send(ROOM, "d");
  gateway.tell("ann", { gap: { roomId: ROOM } });
  await until("the gap is filled", () => ann.bodies.join("") === "abcd");
  gateway.tell("ann", { message: gateway.log(ROOM).events[1].event });
  await ann.ping();
  assert.equal(ann.bodies.join(""), "abcd", "what comes again is not told again");
});

scriptedTest("a place that cannot be proved resets the room, which goes on", async (gateway, client) => {
  const ann = await client("ann");
  await ann.roomJoin(ROOM);
  await ann.send(ROOM, "a");
  await until("told", () => ann.bodies.length === 1);
  gateway.log(ROOM).events[0].id = "another";
  gateway.close("ann");
  await until("reset", () => ann.told("reset").length === 1);
  assert.equal(ann.told("reset")[0].reason, "id_mismatch");
  await ann.send(ROOM, "b");
  await until("told", () => ann.bodies.join("") === "ab");
});

scriptedTest("a resume that is refused costs no room its place", async (gateway, client) => {
  const [ann, bob] = [await client("ann"), await client("bob")];
  for (const each of [ann, bob]) await each.roomJoin(ROOM);
  gateway.script.hello = ({ body, error }) => body.resume && (error({ code: "UNAUTHENTICATED", reason: "TOKEN_EXPIRED", field: "resume.token" }) ?? true);
  gateway.close("bob");
  await ann.send(ROOM, "missed");
  await until("told", () => bob.bodies.join() === "missed");
  assert.equal(bob.told("reset").length, 0);
  assert.equal(bob.tokens(), 1, "the token was not at fault");
});

scriptedTest("a room that is unavailable at a resume is asked for again", async (gateway, client) => {
  const [ann, bob] = [await client("ann"), await client("bob")];
  for (const each of [ann, bob]) await each.roomJoin(ROOM);
  gateway.script.hello = ({ body, reply, user }) => {
    if (user !== "bob" || !body.resume) return false;
    const room = { roomId: ROOM, kind: "ROOM_KIND_UNSPECIFIED", headSeq: "0", headId: "", recovered: false, reason: "unavailable", closed: false, members: [] };
    reply({ welcome: { sessionId: "s", userId: user, node: "", pingIntervalMs: 25_000, resumeToken: "r", resumed: true, rooms: [room] } });
    return true;
  };
  gateway.close("bob");
  await until("away", () => bob.times("reconnecting") === 1);
  await ann.send(ROOM, "missed");
  await until("told", () => bob.bodies.join() === "missed");
  assert.equal(bob.told("reset").length, 0);
});

scriptedTest("a match whose room is not there yet is told when it is, once", async (gateway, client) => {
  const match = { ticketId: "t", matchId: "m", users: ["ann", "bob"], pool: "random-chat" };
  let asked = 0;
  gateway.script.matchJoin = ({ reply }) => reply({ ticket: { ticketId: "t", state: "WAITING", matchId: "", roomId: "" } }) ?? true;
  gateway.pages["/api/match/tickets/t"] = () => ({ ...match, state: "MATCHED", roomId: ++asked > 1 ? ROOM : "" });
  const ann = await client("ann");
  await ann.matchJoin("random-chat");
  gateway.close("ann");
  await until("matched", () => ann.told("matched").length === 1);
  assert.deepEqual(ann.told("matched")[0], { ...match, roomId: ROOM });
  assert.equal(asked, 2);
  gateway.tell("ann", { matched: { ...match, roomId: ROOM } });
  await ann.ping();
  assert.equal(ann.told("matched").length, 1);
});

scriptedTest("a join that is answered with a match that was told looks for another", async (gateway, client) => {
  const old = { ticketId: "t", state: "MATCHED", matchId: "m", roomId: ROOM };
  const tickets = [{ ticketId: "t", state: "WAITING", matchId: "", roomId: "" }, old, { ticketId: "t2", state: "WAITING", matchId: "", roomId: "" }];
  gateway.script.matchJoin = ({ reply }) => reply({ ticket: tickets.shift() }) ?? true;
  gateway.pages["/api/match/tickets/t"] = () => ({ ...old, users: ["ann", "bob"], pool: "random-chat" });
  const ann = await client("ann");
  await ann.matchJoin("random-chat");
  gateway.close("ann");
  await until("matched", () => ann.told("matched").length === 1);
  assert.equal((await ann.matchJoin("random-chat")).ticketId, "t2");
  assert.equal(ann.ticketId, "t2", "it waits for the other");
  assert.equal(ann.told("matched").length, 1);
});

scriptedTest("one listener's fault costs the others nothing", async (gateway, client) => {
  const ann = await client("ann");
  await ann.roomJoin(ROOM);
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  ann.on("message", () => {
    throw new Error("a fault of the application");
  });
  ann.on("message", async ({ body }) => {
    if (body === "2") throw new Error("another, later");
  });
  const heard = [];
  ann.on("message", ({ body }) => heard.push(body));
  for (const body of ["1", "2"]) await ann.send(ROOM, body);
  await until("told", () => heard.length === 2 && reported.length === 3);
  delete globalThis.reportError;
  assert.deepEqual(reported, ["a fault of the application", "a fault of the application", "another, later"]);
});
