// Two gateways behind a load balancer with the configuration of deploy/, which knows
// nobody again: people go on when one of the gateways is killed, those who come later
// are at the new one, and each is charged by the address they come from.

import assert from "node:assert/strict";
import http from "node:http";
import { until } from "../mingle.mjs";
import { pageTest } from "../people.mjs";

pageTest("a gateway behind the balancer is killed: people talk on, and its successor is used", { outage: true }, async ({ mingle, people }) => {
  const url = `http://${mingle.address("gateway")}`;
  const [ann, bob] = await people.pair("ann", "bob");
  await ann.says("Can you hear me?");
  await bob.hears("Can you hear me?");
  await theyAreCharged(url);

  assert.deepEqual(await mingle.sockets(), [1, 1], "from one address to both gateways");
  await mingle.killGateway(0);
  for (let asked = 0; asked < 4; asked += 1) assert.equal((await fetch(`${url}/livez`)).status, 200, "a question is asked at the other gateway");
  await ann.says("And now?");
  await bob.hears("And now?");
  await bob.says("As before");
  await ann.hears("As before");
  await until("both are at the other gateway", async () => (await mingle.sockets())[1] === 2);
  for (const person of [ann, bob]) assert.deepEqual(await person.reads(), ["Can you hear me?", "And now?", "As before"]);

  const survivor = await node(url);
  await mingle.start();
  await until("the successor answers", async () => ![undefined, survivor].includes(await node(url)));
  const [carl, dora] = await people.pair("carl", "dora");
  await carl.says("Hello");
  await dora.hears("Hello");
  assert.ok((await mingle.sockets())[0] > 0, "sockets go to where there are fewest");
});

/** Which gateway answers. */
async function node(url) {
  const answer = await fetch(`${url}/api/health`);
  return answer.ok ? (await answer.json()).node : undefined;
}

/** An address is charged for what it asks, whatever it says of itself. */
async function theyAreCharged(url) {
  const first = await left(url, "127.0.0.2");
  assert.equal(await left(url, "127.0.0.2"), first - 1);
  assert.equal(await left(url, "127.0.0.2", "203.0.113.9"), first - 2, "a forged address is not believed");
  assert.equal(await left(url, "127.0.0.3"), first, "somebody else is charged apart");
}

/** What is left of a quota to whoever comes from there, after this request. */
function left(url, localAddress, forwarded) {
  const headers = forwarded ? { "x-forwarded-for": forwarded } : {};
  return new Promise((resolve, reject) => {
    http
      .get(`${url}/api/rooms`, { localAddress, headers, agent: false }, (answer) => {
        answer.resume();
        const [, remaining] = /;r=(\d+)/.exec(answer.headers.ratelimit ?? "") ?? [];
        if (remaining === undefined) reject(new Error(`HTTP ${answer.statusCode} without RateLimit`));
        else resolve(Number(remaining));
      })
      .on("error", reject);
  });
}
