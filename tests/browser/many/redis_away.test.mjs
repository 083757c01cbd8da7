// Redis does not answer: the page says that something is slower, and what
// people do goes on.

import { pageTest } from "../people.mjs";

pageTest("Redis away: people talk on, others meet, and the page says so until it is back", { outage: true }, async ({ mingle, people }) => {
  const [ann, bob] = await people.pair("ann", "bob");
  const carl = await people.arrives("carl");
  await carl.looks();
  await carl.sees("waiting");
  await mingle.freeze();
  for (const person of [ann, bob]) await person.sees("banner", { kind: "degraded" }, "who is online");
  await ann.sees("partner-presence", { status: "UNKNOWN" }, "not known right now, online when last known");
  await ann.says("Are you still there?");
  await bob.hears("Are you still there?");
  await bob.says("I am");
  await ann.hears("I am");
  await ann.shoots("redis-away");
  await bob.at("next-button").click();
  for (const person of [bob, carl]) await person.sees("conversation");
  await carl.says("Hello");
  await bob.hears("Hello");
  await mingle.thaw();
  for (const person of [bob, carl]) {
    await person.seesNo("banner", { kind: "degraded" });
    await person.sees("partner-presence", { status: "ONLINE" });
  }
});
