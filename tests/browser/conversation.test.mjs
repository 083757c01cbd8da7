// The main job, from one browser tab to the other: two strangers meet and
// talk, and nothing is lost when the server restarts.

import assert from "node:assert/strict";
import { until } from "./mingle.mjs";
import { meet, pageTest } from "./people.mjs";

pageTest("two strangers meet, talk and part; a restart later it is all there", { outage: true }, async ({ mingle, people }) => {
  const [ann, bob] = [await people.arrives("ann"), await people.arrives("bob")];
  await theyMeet(ann, bob);
  await theyTalk(ann, bob);
  await theyCorrect(ann, bob);
  await bobMovesOn(ann, bob);

  const said = await ann.reads();
  assert.deepEqual(said, ["Hello Bob, how are you?", "Message deleted", "Fine, and you?"]);
  assert.equal(await mingle.terminate(), 0, "the exit code after SIGTERM");
  await mingle.start();

  await ann.page.reload();
  await ann.sees("ended");
  await until("ann reads it again", async () => (await ann.reads()).length === said.length);
  assert.deepEqual(await ann.reads(), said, "after the restart, where it took place");
  await bob.page.reload();
  await bob.at("history-load").click();
  await bob.at("history-item").filter({ hasText: "ann" }).click();
  await until("bob reads it again", async () => (await bob.reads()).length === said.length);
  assert.deepEqual(await bob.reads(), said, "after the restart, among the earlier conversations");
});

async function theyMeet(ann, bob) {
  await ann.looks({ gender: "female", wants: ["male"] });
  await ann.sees("waiting");
  await ann.sees("estimate", {}, /half of all matches|Not enough matches/);
  await bob.looks({ gender: "male" });
  for (const [person, other] of [[ann, bob], [bob, ann]]) {
    await person.sees("conversation");
    await person.page.getByRole("heading", { name: other.name }).waitFor();
    await person.sees("partner-presence", { status: "ONLINE" });
  }
}

async function theyTalk(ann, bob) {
  await bob.looksAway();
  await ann.says("Hello Bod, how are you?");
  await bob.hears("Hello Bod");
  assert.match(await (await ann.sees("message", { mine: true, state: "sent" })).textContent(), /✓/);
  assert.equal(await ann.at("message", { state: "read" }).count(), 0, "nobody has looked at it");
  await bob.looksAway(false);
  assert.match(await (await ann.sees("message", { mine: true, state: "read" })).textContent(), /✓✓/);

  await bob.at("composer").pressSequentially("Fin");
  await ann.sees("typing-indicator", {}, "bob");
  await bob.says("oops");
  await ann.hears("oops");
  await ann.seesNo("typing-indicator");
  await bob.says("Fine, and you?");
  await ann.hears("Fine, and you?");
  await bob.sees("message", { mine: true, state: "read" });
}

async function theyCorrect(ann, bob) {
  const mine = await ann.ownMessage("Hello Bod");
  await mine.hover();
  await mine.getByTestId("message-edit").click();
  await ann.at("edit-input").fill("Hello Bob, how are you?");
  await ann.at("edit-save").click();
  assert.match(await (await bob.hears("Hello Bob")).textContent(), /edited/);

  const slip = await bob.ownMessage("oops");
  await slip.hover();
  await slip.getByTestId("message-delete").click();
  await ann.sees("message", { mine: false, deleted: true }, "Message deleted");
  await bob.sees("message", { mine: true, deleted: true }, "Message deleted");
}

async function bobMovesOn(ann, bob) {
  await bob.at("next-button").click();
  await ann.sees("system-line", {}, "bob left the conversation");
  await ann.sees("ended");
  await ann.seesNo("composer");
  assert.equal(await ann.at("message-edit").count(), 0, "what was said stays as it is");
  await bob.sees("waiting");
  await bob.at("cancel-button").click();
  await bob.sees("find-button");
}

pageTest("a conversation goes on in the open tabs when the server restarts", { outage: true }, async ({ mingle, people }) => {
  const [ann, bob] = await people.pair("ann", "bob");
  await ann.says("before");
  await bob.hears("before");
  for (const { page } of [ann, bob]) await page.evaluate(() => (globalThis.sameTab = true));

  assert.equal(await mingle.terminate(), 0);
  for (const person of [ann, bob]) {
    await person.sees("banner", { kind: "reconnecting" });
    await person.sees("connection", { state: "reconnecting" });
  }
  await ann.says("ann, while it was away");
  await bob.says("bob, while it was away");
  for (const person of [ann, bob]) await person.sees("message", { mine: true, state: "sending" });
  await mingle.start();

  await ann.hears("bob, while it was away");
  await bob.hears("ann, while it was away");
  for (const person of [ann, bob]) {
    await person.seesNo("banner");
    await person.sees("partner-presence", { status: "ONLINE" });
  }
  await bob.says("and on it goes");
  await ann.hears("and on it goes");
  const said = await ann.reads();
  assert.equal(said.length, 4, "each message once");
  assert.deepEqual(await bob.reads(), said, "in one order");
  for (const { page } of [ann, bob]) assert.ok(await page.evaluate(() => globalThis.sameTab), "without a reload");
});

pageTest("what is written offline is kept, and delivered once", { outage: true }, async ({ mingle, people }) => {
  const lane = await mingle.wire();
  const [ann, bob] = [await people.arrives("ann", { url: lane.url }), await people.arrives("bob")];
  await meet(ann, bob);
  await ann.says("zero");
  await ann.sees("message", { mine: true, state: "read" });
  lane.down();
  await ann.sees("banner", { kind: "reconnecting" });
  const words = ["one", "two", "three"];
  for (const word of words) await ann.says(word);
  await until("all three wait", async () => (await ann.at("message", { state: "sending" }).count()) === 3);
  await ann.sees("banner", {}, "What you write is kept");
  // What is on its way cannot be edited, and what was before it is not meant.
  await ann.page.keyboard.press("ArrowUp");
  assert.equal(await ann.at("edit-input").count(), 0);
  // The partner's absence for less than the grace period is no event.
  assert.equal(await bob.at("partner-presence").getAttribute("data-status"), "ONLINE");

  lane.mend();
  await ann.page.getByRole("button", { name: "Try now" }).click({ timeout: 2000 }).catch(() => {}); // it may be back already
  await bob.hears("three");
  await until("all are read", async () => (await ann.at("message", { state: "read" }).count()) === 4);
  for (const person of [ann, bob]) assert.deepEqual(await person.reads(), ["zero", ...words]);
});
