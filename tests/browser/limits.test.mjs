// What the page says of limits: what is limited, for how long, and that
// nothing that was written is lost.

import assert from "node:assert/strict";
import { until } from "./mingle.mjs";
import { meet, pageTest } from "./people.mjs";

const LIMITED = { code: "RESOURCE_EXHAUSTED", reason: "RATE_LIMITED", field: "", message: "too many" };

/** Refuses the first frames of `kind`, as many as `delays` has; answers the bodies of all that came. */
async function refuse(person, kind, delays) {
  const asked = [];
  await person.page.routeWebSocket(/\/ws$/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      const { id, [kind]: body } = JSON.parse(text);
      if (!body) return server.send(text);
      asked.push(body);
      const retryAfterMs = delays.shift();
      if (!retryAfterMs) return server.send(text);
      socket.send(JSON.stringify({ id, error: { ...LIMITED, retryAfterMs } }));
    });
  });
  return asked;
}

/** The seconds that a text tells, waited for until they are fewer than `than`. */
async function countsBelow(node, than) {
  return until(`fewer than ${than} seconds are told`, async () => {
    const told = /in (\d+) second/.exec(await node.textContent());
    return told && Number(told[1]) < than;
  });
}

pageTest("words over the limit wait, said so and counted down, and go out once", {}, async ({ people }) => {
  const ann = await people.arrives("ann");
  const bob = await people.arrives("bob");
  const sends = await refuse(ann, "send", [6000]);
  await meet(ann, bob);
  for (const words of ["one", "two"]) await ann.says(words);
  const told = await ann.sees("limited", {}, "What you write is kept and sent in");
  await ann.sees("message", { state: "held" }, "one");
  await ann.sees("message", { state: "sending" }, "two");
  await ann.shoots("send-limited");
  await countsBelow(told, 5);
  await bob.hears("two");
  await ann.seesNo("limited");
  await ann.seesNo("message", { state: "held" });
  assert.deepEqual(await bob.reads(), ["one", "two"]);
  assert.deepEqual(sends.map(({ body }) => body), ["one", "one", "two"]);
  assert.equal(sends[0].clientMsgId, sends[1].clientMsgId, "under the same key");
});

pageTest("a search that is refused for seconds is said to be, and begins then", {}, async ({ people }) => {
  const ann = await people.arrives("ann");
  const joins = await refuse(ann, "matchJoin", [5000]);
  await ann.looks();
  const title = ann.page.getByRole("heading", { name: "The next search begins in" });
  await title.waitFor();
  await countsBelow(title, 4);
  await ann.page.getByRole("heading", { name: "Looking for someone" }).waitFor();
  assert.equal(joins.length, 2);
});

pageTest("whoever cannot be let in at the moment is let in by itself", { outage: true }, async ({ people }) => {
  const ann = await people.arrives("ann");
  let refused = 0;
  await ann.page.route("**/api/dev/token", (route) => {
    if (++refused > 2) return route.continue();
    const problem = { code: "UNAVAILABLE", reason: "UNAVAILABLE", field: "", message: "not now", retryAfterMs: 2000 };
    return route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify(problem) });
  });
  await ann.looks();
  await ann.page.getByText("Nobody can sign in at the moment. It is tried again in 2 seconds.").waitFor();
  await ann.shoots("sign-in-unavailable");
  await ann.page.getByRole("heading", { name: "Looking for someone" }).waitFor();
  assert.equal(refused, 3);
});

pageTest("a token that is refused for now is told as that, also while the server restarts", { outage: true }, async ({ people }) => {
  const [ann, bob] = [await people.arrives("ann"), await people.arrives("bob")];
  let ends = () => {};
  await ann.page.routeWebSocket(/\/ws$/, (socket) => {
    socket.connectToServer();
    ends = () => {
      socket.send(JSON.stringify({ draining: { retryAfterMs: 1000 } }));
      void socket.close({ code: 4002 });
    };
  });
  await meet(ann, bob);
  let refused = 0;
  await ann.page.route("**/api/dev/token", (route) => {
    if (++refused > 1) return route.continue();
    // In the words of something before the server.
    return route.fulfill({ status: 429, headers: { "retry-after": "6" }, body: "slow down" });
  });
  ends();
  const told = await ann.sees("banner", { kind: "limited" }, "Too many people sign in from your network. You will be connected again in");
  await ann.says("still here");
  await ann.shoots("token-limited");
  assert.doesNotMatch(await told.textContent(), /restart|Try now/);
  await ann.looksAway(false);
  await countsBelow(told, 4);
  assert.equal(refused, 1, "nobody asks before the time");
  await bob.hears("still here");
  await ann.seesNo("banner");
  assert.equal(refused, 2);
});
