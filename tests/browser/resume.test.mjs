// The client library over the real server and a wire that breaks: no event is
// missing, none comes twice, the order is kept.

import assert from "node:assert/strict";
import { client, devToken, meet } from "./client.mjs";
import { serverTest, until } from "./mingle.mjs";

const MESSAGES = process.env.MINGLE_SOAK ? 2000 : 150;
/** A connection dies after this many bytes to the client: in its welcome, in a replay, or a while later. */
const LIFE_BYTES = [200, 12_000];
const SETTLED_MS = process.env.MINGLE_SOAK ? 300_000 : 60_000;

serverTest("two talk while their connections break: each message once, in one order", async (mingle, t) => {
  const random = seeded(t);
  const wires = [await mingle.wire(), await mingle.wire()];
  const talkers = [client(wires[0].url, "ann"), client(wires[1].url, "bob")];
  const acked = await talkOver(wires, talkers, random);

  const [ann, bob] = talkers;
  for (const talker of talkers) await until("all is told", () => talker.bodies.length >= 2 * MESSAGES, SETTLED_MS);
  assert.deepEqual(ann.told("message").map(({ seq, messageId }) => [seq, messageId]), bob.told("message").map(({ seq, messageId }) => [seq, messageId]), "both were told the same");
  for (const talker of talkers) gapless(talker);
  for (const name of ["ann", "bob"]) {
    const said = Array.from({ length: MESSAGES }, (_, i) => `${name} ${i}`);
    assert.deepEqual(ann.bodies.filter((body) => body.startsWith(name)), said, `${name}'s messages once, in the order they were said`);
  }
  // Told elsewhere than by the sockets: the history over HTTP.
  const stored = await history(wires[0], ann);
  assert.deepEqual(stored.map(({ messageId }) => messageId), ann.told("message").map(({ messageId }) => messageId));
  assert.deepEqual(new Set(stored.map(({ messageId }) => messageId)), new Set(acked), "what was acknowledged is what there is");

  const drops = wires[0].cuts + wires[1].cuts;
  const resumes = talkers.flatMap((talker) => talker.told("welcome")).filter(({ resumed }) => resumed).length;
  t.diagnostic(`${drops} drops, ${resumes} resumes`);
  assert.ok(drops > 10 && resumes > 10, `${drops} drops, ${resumes} resumes`);
  assert.equal(talkers.flatMap((talker) => talker.told("reset")).length, 0, "every replay was proved");
});

/** Both say what they have to say at once, over wires that break. Answers the acknowledged ids. */
async function talkOver(wires, talkers, random) {
  await Promise.all(talkers.map((talker) => talker.connect()));
  const roomId = await meet(...talkers);
  const [least, most] = LIFE_BYTES;
  for (const wire of wires) {
    wire.cutAfter(() => least + Math.floor(random() * (most - least)));
    wire.cut();
  }
  const says = async (talker) => {
    const sent = [];
    for (let i = 0; i < MESSAGES; i += 1) {
      sent.push(talker.send(roomId, `${talker.userId} ${i}`));
      if (random() < 0.2) await Promise.all(sent); // now in step, now ahead of the answers
    }
    return Promise.all(sent);
  };
  const answers = await Promise.all(talkers.map(says));
  for (const wire of wires) wire.cutAfter();
  return answers.flat().map(({ messageId }) => messageId);
}

serverTest("two talk while the server is killed: what was acknowledged is there", async (mingle, t) => {
  const [wire, other] = [await mingle.wire(), await mingle.wire()];
  const [ann, bob] = [client(wire.url, "ann"), client(other.url, "bob")];
  await Promise.all([ann.connect(), bob.connect()]);
  const roomId = await meet(ann, bob);
  const sent = [];
  const acked = [];
  let pendingAtKill = 0;
  for (let round = 0; round < 3; round += 1) {
    for (let i = 0; i < 30; i += 1) sent.push(ann.send(roomId, `${round} ${i}`).then(({ messageId }) => acked.push(messageId)));
    await until("some are acknowledged", () => acked.length > round * 30 + 3);
    pendingAtKill += ann.pending;
    await mingle.kill();
    await mingle.start();
  }
  await Promise.all(sent);
  await until("all is told", () => bob.bodies.length >= 90);
  assert.equal(acked.length, 90);
  assert.deepEqual(bob.told("message").map(({ messageId }) => messageId), acked, "each once, in order");
  assert.deepEqual((await history(wire, bob)).map(({ messageId }) => messageId), acked);
  for (const talker of [ann, bob]) gapless(talker);
  t.diagnostic(`${pendingAtKill} messages had no answer at a kill`);
  assert.ok(pendingAtKill > 0, "kills with messages under way");
  for (const talker of [ann, bob]) assert.ok(talker.told("welcome").some(({ resumed }) => resumed), "resumed");
});

serverTest("a match while away is told once, and a ticket that ended away too", async (mingle) => {
  const wires = [await mingle.wire(), await mingle.wire()];
  const [ann, bob] = [client(wires[0].url, "ann"), client(wires[1].url, "bob")];
  await Promise.all([ann.connect(), bob.connect()]);
  const { ticketId } = await ann.matchJoin("random-chat", { attributes: { gender: "other" } });
  wires[0].down();
  await until("ann is away", () => ann.state === "reconnecting");
  await bob.matchJoin("random-chat", { attributes: { gender: "other" } });
  await until("bob is matched", () => bob.told("matched").length === 1);
  wires[0].mend();
  await until("ann is told", () => ann.told("matched").length === 1);
  assert.equal(ann.told("matched")[0].ticketId, ticketId);
  assert.equal(ann.ticketId, "");
  await ann.roomJoin(ann.told("matched")[0].roomId);

  const next = await ann.matchJoin("random-chat", { attributes: { gender: "other" } });
  wires[0].down();
  await until("ann is away", () => ann.state === "reconnecting");
  const { token } = await devToken(wires[1].url, "ann");
  const cancelled = await fetch(`${wires[1].url}/api/match/tickets/${next.ticketId}`, { method: "DELETE", headers: { authorization: `Bearer ${token}` } });
  assert.equal(cancelled.status, 200);
  wires[0].mend();
  await until("ann is told", () => ann.told("ticket").length === 1);
  assert.deepEqual(ann.told("ticket"), [{ ticketId: next.ticketId, state: "CANCELLED" }]);
  assert.equal(ann.told("matched").length, 1, "the match was told once");

  // A ticket that still waits is stood for by the new connection.
  const third = await ann.matchJoin("random-chat", { attributes: { gender: "other" } });
  wires[0].cut();
  await until("ann is back", () => ann.state === "open" && ann.told("welcome").length === 4);
  assert.equal((await ann.matchJoin("random-chat", { attributes: { gender: "other" } })).ticketId, third.ticketId);
  assert.equal((await ann.matchLeave()).state, "CANCELLED");
});

/** Every log event of the room was told, each at the place after the one before. */
function gapless(talker) {
  const seqs = talker.events.filter(([name]) => ["message", "member", "edited", "deleted", "roomClosed"].includes(name)).map(([, { seq }]) => seq);
  assert.deepEqual(seqs, seqs.map((_, i) => i + 1), `${talker.userId} was told each event once, in order`);
}

/** All messages of a client's one room, page by page, oldest first. */
async function history({ url }, talker) {
  const [{ roomId }] = talker.told("matched");
  const { token } = await devToken(url, talker.userId);
  const all = [];
  for (let more = true; more; ) {
    const before = all[0]?.seq ?? 0;
    const answer = await fetch(`${url}/api/rooms/${roomId}/messages?before=${before}&limit=50`, { headers: { authorization: `Bearer ${token}` } });
    const page = await answer.json();
    all.unshift(...page.messages);
    more = page.hasMore;
  }
  return all;
}

/** A random source whose seed is printed, and can be given: MINGLE_SEED. */
function seeded(t) {
  let state = Number(process.env.MINGLE_SEED ?? Math.floor(Math.random() * 2 ** 31)) >>> 0;
  t.diagnostic(`MINGLE_SEED=${state}`);
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
