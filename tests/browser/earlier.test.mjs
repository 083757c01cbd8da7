// What was said before: long conversations, coming back to an open one, and
// what was written too late.

import assert from "node:assert/strict";
import { client } from "./client.mjs";
import { until } from "./mingle.mjs";
import { meet, pageTest } from "./people.mjs";

pageTest("a long conversation is read upwards, page by page", {}, async ({ people, wire }) => {
  const ann = await people.arrives("ann");
  const bob = client(wire.url, "bob");
  await bob.connect();
  await ann.looks();
  await bob.matchJoin("random-chat", { attributes: { gender: "other" } });
  await until("they are matched", () => bob.told("matched").length === 1);
  const [{ roomId }] = bob.told("matched");
  await bob.roomJoin(roomId);
  await ann.sees("conversation");
  const lines = Array.from({ length: 120 }, (_, i) => `line ${i} ${"of some length ".repeat(i % 7)}`.trim());
  await Promise.all(lines.map((line) => bob.send(roomId, line)));
  await ann.hears("line 119");
  assert.deepEqual(await ann.reads(), lines, "as they came");

  await ann.page.reload();
  await ann.hears("line 119");
  const shown = await ann.at("message").count();
  assert.ok(shown < lines.length, `the newest ${shown} come first`);
  await until("all is loaded", async () => {
    await ann.page.locator("#messages").evaluate((node) => (node.scrollTop = 0));
    return (await ann.at("message").count()) === lines.length;
  });
  assert.deepEqual(await ann.reads(), lines, "in their order");
  await ann.seesNo("load-older");

  // Who reads what was before is not torn away from it.
  await ann.page.locator("#messages").evaluate((node) => (node.scrollTop = 0));
  await bob.send(roomId, "below");
  await ann.page.getByRole("button", { name: "New messages" }).click();
  assert.ok(await (await ann.hears("below")).isVisible());
  await until("it is read", () => bob.told("read").some(({ userId, seq }) => userId === "ann" && seq >= 123));
});

pageTest("who closed the tab is offline, and can go on with the conversation later", {}, async ({ people }) => {
  const [ann, bob] = await people.pair("ann", "bob");
  await bob.says("back soon");
  await ann.hears("back soon");
  await bob.page.close();
  await ann.sees("partner-presence", { status: "OFFLINE" }, "last seen");
  await ann.says("I am waiting");

  const again = await people.arrives("bob");
  await again.at("user-id-input").fill("bob");
  await again.at("history-load").click();
  const item = again.at("history-item");
  assert.match(await item.textContent(), /open, 1 unread/);
  await item.click();
  await again.hears("I am waiting");
  await again.at("continue-button").click();
  await again.sees("composer");
  await ann.sees("partner-presence", { status: "ONLINE" });
  await ann.sees("message", { mine: true, state: "read" });
  await again.says("here I am");
  await ann.hears("here I am");
});

pageTest("what was written too late is shown as not sent", { outage: true }, async ({ mingle, people }) => {
  const lane = await mingle.wire();
  const [ann, bob] = [await people.arrives("ann", { url: lane.url }), await people.arrives("bob")];
  await meet(ann, bob);
  lane.down();
  await ann.sees("banner", { kind: "reconnecting" });
  await ann.says("are you there?");
  await ann.sees("message", { mine: true, state: "sending" });
  await bob.at("leave-button").click();
  await bob.sees("find-button");
  lane.mend();
  await ann.sees("system-line", {}, "bob left the conversation");
  await ann.sees("message", { mine: true, state: "failed" }, "The conversation has ended.");
  await ann.seesNo("composer");
  assert.deepEqual(await ann.reads(), ["are you there?"]);
});
