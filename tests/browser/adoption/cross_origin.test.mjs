// A page of another origin in a real browser: the gateway's library, its HTTP API
// and its socket, where the origin is listed and where it is not.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { adopterTest } from "./adopter.mjs";

const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** An empty page, at an origin of its own: another name and another port than the gateway's. */
const page = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html><title>app</title>"));
let browser;
before(async () => {
  page.listen(0, "127.0.0.1");
  await once(page, "listening");
  browser = await chromium.launch({ executablePath: process.env.MINGLE_CHROMIUM ?? "/usr/bin/chromium", args: ARGS });
});
after(async () => {
  await browser.close();
  page.close();
});

const origin = () => `http://localhost:${page.address().port}`;

/** What `script` says of the gateway, run in the page. */
async function inPage(script, gateway) {
  const context = await browser.newContext();
  try {
    const tab = await context.newPage();
    await tab.goto(origin());
    return await tab.evaluate(script, gateway);
  } finally {
    await context.close();
  }
}

const listed = () => ({ MINGLE_GATEWAY__ALLOWED_ORIGINS: JSON.stringify(["https://app.example", origin()]) });

adopterTest("a listed page loads the library, asks the API, reads why it is refused, and opens a socket", async (mingle) => {
  const { url } = await mingle.wire();
  const seen = await inPage(async (gateway) => {
    const { Mingle } = await import(`${gateway}/mingle.js`);
    const headers = { "content-type": "application/json" };
    const getToken = async () => (await fetch(`${gateway}/api/dev/token`, { method: "POST", headers, body: '{"userId":"ann"}' })).json();
    const refused = await fetch(`${gateway}/api/rooms`, { headers: { authorization: "Bearer forged" } });
    const mingle = new Mingle({ url: gateway, getToken });
    await mingle.connect();
    const { ticketId } = await mingle.matchJoin("random-chat", { attributes: { gender: "other" } });
    const { token } = await getToken();
    const cancelled = await fetch(`${gateway}/api/match/tickets/${ticketId}`, { method: "DELETE", headers: { authorization: `Bearer ${token}` } });
    const policy = cancelled.headers.get("ratelimit-policy");
    const state = (await cancelled.json()).state;
    mingle.close();
    return { refused: (await refused.json()).reason, userId: mingle.userId, state, policy };
  }, url);
  assert.match(seen.policy, /^"api";/, "what the page may read of the headers");
  assert.deepEqual({ ...seen, policy: "" }, { refused: "TOKEN_INVALID", userId: "ann", state: "CANCELLED", policy: "" });
}, listed);

adopterTest("a page that is not listed loads nothing, reads nothing, and its socket is closed 4003", async (mingle) => {
  const { url } = await mingle.wire();
  const seen = await inPage(async (gateway) => {
    const failed = (error) => error.name;
    const socket = new WebSocket(`${gateway.replace("http", "ws")}/ws`, ["mingle.v1.json"]);
    const closed = new Promise((resolve) => socket.addEventListener("close", ({ code }) => resolve(code)));
    return {
      library: await import(`${gateway}/mingle.js`).then(() => "loaded", failed),
      api: await fetch(`${gateway}/api/health`).then(() => "read", failed),
      token: await fetch(`${gateway}/api/dev/token`, { method: "POST", body: '{"userId":"ann"}' }).then(() => "read", failed),
      socket: await closed,
    };
  }, url);
  assert.deepEqual(seen, { library: "TypeError", api: "TypeError", token: "TypeError", socket: 4003 });
}, () => ({ MINGLE_GATEWAY__ALLOWED_ORIGINS: '["https://app.example"]' }));
