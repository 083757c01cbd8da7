// The page by itself: reloads, several windows, the keyboard, what it trusts.

import assert from "node:assert/strict";
import WebSocket from "ws";
import { until } from "./mingle.mjs";
import { meet, pageTest } from "./people.mjs";

pageTest("a reload goes on where it stopped: in the talk, in the queue, after the end", {}, async ({ people }) => {
  const [ann, bob] = await people.pair("ann", "bob");
  await ann.says("one");
  await bob.hears("one");
  await ann.sees("message", { state: "read" });

  await ann.page.reload();
  await ann.sees("message", { mine: true, state: "read" }, "one");
  await ann.sees("partner-presence", { status: "ONLINE" });
  await ann.says("two");
  await bob.hears("two");
  await bob.says("three");
  await ann.hears("three");
  assert.deepEqual(await ann.reads(), ["one", "two", "three"]);

  await ann.at("next-button").click();
  await ann.sees("waiting");
  await ann.page.reload();
  await ann.sees("waiting");
  const cat = await people.arrives("cat");
  await cat.looks();
  for (const [person, other] of [[ann, cat], [cat, ann]]) await person.page.getByRole("heading", { name: other.name }).waitFor();

  await bob.sees("ended");
  await bob.page.reload();
  await bob.sees("ended");
  await until("the talk is shown", async () => (await bob.reads()).length === 3);
  await bob.seesNo("composer");
});

pageTest("what had no answer at a reload is sent after it, once and in order", {}, async ({ people }) => {
  const [ann, bob] = await people.pair("ann", "bob");
  // The next page's sends do not arrive; the room of the page after it is slow to open.
  const sends = [];
  const joins = [];
  let lost = true;
  await ann.page.routeWebSocket(/\/ws$/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      const { send, roomJoin } = JSON.parse(text);
      if (send) sends.push(send.clientMsgId);
      if (roomJoin && !lost) joins.push(() => server.send(text));
      else if (!send || !lost) server.send(text);
    });
  });
  await ann.page.reload();
  await ann.sees("composer");
  for (const words of ["one", "two"]) await ann.says(words);
  await until("both wait", async () => (await ann.at("message", { state: "sending" }).count()) === 2);
  await until("one is under way", () => sends.length > 0);
  lost = false;
  await ann.page.reload();
  await until("the room is asked for", () => joins.length > 0);
  await ann.says("three");
  for (const join of joins) join();
  await bob.hears("three");
  for (const person of [ann, bob]) await until("it is read", async () => (await person.reads()).join() === "one,two,three");
  assert.equal(sends.length, 4, "each was sent once by each page that could");
  assert.equal(new Set(sends).size, 3, "under the same key");
});

pageTest("a tab whose session went elsewhere says so, and can take it back", {}, async ({ people, wire }) => {
  const resumeTokens = [];
  const ann = await people.arrives("ann");
  ann.page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => {
    const { welcome } = JSON.parse(payload);
    if (welcome) resumeTokens.push(welcome.resumeToken);
  }));
  const bob = await people.arrives("bob");
  await meet(ann, bob);
  const { token } = await ann.page.evaluate(() => JSON.parse(sessionStorage.getItem("mingle.token")));

  const elsewhere = new WebSocket(wire.url.replace("http", "ws") + "/ws", ["mingle.v1.json"]);
  const frames = [];
  elsewhere.on("message", (text) => frames.push(JSON.parse(text)));
  elsewhere.on("open", () => elsewhere.send(JSON.stringify({ id: 1, hello: { token, resume: { token: resumeTokens.at(-1), rooms: [] } } })));
  const { welcome } = await until("the session is taken up", () => frames.find((frame) => frame.welcome));
  assert.equal(welcome.resumed, true);
  await ann.sees("banner", { kind: "superseded" }, "taken over by another window");
  await ann.sees("connection", { state: "closed" });
  await ann.shoots("superseded");

  await bob.says("missed");
  await ann.page.getByRole("button", { name: "Use it here" }).click();
  await ann.hears("missed");
  await ann.seesNo("banner");
  await ann.says("back");
  await bob.hears("back");
  elsewhere.terminate();
});

pageTest("two windows of one person show the same conversation", {}, async ({ people }) => {
  const [ann, bob] = await people.pair("ann", "bob");
  await bob.says("hi");
  await ann.hears("hi");
  // A window that a page opens has a copy of its storage: the same person.
  const [opened] = await Promise.all([ann.page.context().waitForEvent("page"), ann.page.evaluate(() => void open(location.href))]);
  const second = people.sits("ann-2", opened);
  await second.hears("hi");
  await second.says("from the second");
  await ann.ownMessage("from the second");
  await bob.hears("from the second");
  await ann.says("from the first");
  await second.ownMessage("from the first");
  await bob.hears("from the first");
  assert.deepEqual(await ann.reads(), await second.reads());

  // One window less is not the end of a person.
  await second.page.close();
  await ann.says("still here");
  await bob.hears("still here");
  await ann.at("leave-button").click();
  await bob.sees("system-line", {}, "ann left the conversation");
});

pageTest("without a pointer: find, talk, edit, delete, move on", {}, async ({ people }) => {
  const [ann, bob] = [await people.arrives("ann"), await people.arrives("bob")];
  const keys = ann.page.keyboard;
  const focused = () => ann.page.evaluate(() => document.activeElement.dataset.testid ?? document.activeElement.id);
  const press = async (...names) => {
    for (const name of names) await keys.press(name);
  };
  await ann.page.getByLabel("Your name").focus();
  await keys.press("Control+a");
  await keys.type("ann");
  await press("Tab", "Tab", "ArrowLeft");
  assert.ok(await ann.at("gender-male").isChecked(), "arrows choose");
  await press("Tab", "Tab", "Space");
  assert.ok(await ann.at("want-female").isChecked(), "space ticks");
  assert.ok(!(await ann.at("want-any").isChecked()), "a choice is not anyone");
  await keys.press("Space");
  assert.ok(await ann.at("want-any").isChecked(), "no choice is anyone");
  await keys.press("Enter");
  await ann.sees("waiting");
  assert.equal(await focused(), "waiting-title", "the new view is told");

  await bob.looks();
  await ann.sees("conversation");
  await until("it is announced", async () => (await ann.page.locator("#announcer").textContent()) === "You are talking with bob");
  await until("the words go to the composer", async () => (await focused()) === "composer");
  await keys.type("first line");
  await keys.press("Shift+Enter");
  await keys.type("second line");
  await keys.press("Enter");
  assert.equal(await (await bob.hears("first line")).getByTestId("message-body").textContent(), "first line\nsecond line");

  await ann.sees("message", { mine: true, state: "read" });
  await keys.press("ArrowUp");
  assert.equal(await focused(), "edit-input");
  await keys.type("!");
  await keys.press("Enter");
  await bob.hears("second line!");
  await until("back to writing", async () => (await focused()) === "composer");
  await press("Shift+Tab", "Enter");
  await bob.sees("message", { deleted: true });
  await until("back to writing", async () => (await focused()) === "composer");

  await ann.at("next-button").focus();
  await keys.press("Enter");
  await bob.sees("ended");
  await ann.sees("waiting");
  await press("Tab", "Enter");
  await ann.sees("find-button");
});

pageTest("nothing that a stranger writes is more than text, and the policy says so", {}, async ({ people, wire }) => {
  const answer = await fetch(wire.url);
  const policy = answer.headers.get("content-security-policy");
  for (const rule of ["default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]) assert.match(policy, new RegExp(rule));
  assert.doesNotMatch(policy, /unsafe/);
  assert.equal(answer.headers.get("x-content-type-options"), "nosniff");

  const [ann, bob] = await people.pair("ann", "bob");
  const script = `<img src=x onerror="globalThis.hit=1"><script>globalThis.hit=1</script>`;
  await ann.says(script);
  await bob.hears("<img");
  assert.deepEqual(await bob.reads(), [script]);
  assert.equal(await bob.page.locator("#messages img, #messages script").count(), 0);
  assert.equal(await bob.page.evaluate(() => globalThis.hit), undefined);

  const long = "🦔".repeat(2048);
  await ann.says(long);
  await bob.hears("🦔🦔");
  assert.equal((await bob.reads())[1], long, "8 KiB of text arrive as they were");
  await ann.at("composer").fill(`${long}!`);
  await ann.page.getByText("Too long by 1 bytes").waitFor();
});

pageTest("what is affected is said of each service, and nothing where nobody notices", {}, async ({ people }) => {
  const ann = await people.arrives("ann");
  let page;
  await ann.page.routeWebSocket(/\/ws$/, (socket) => {
    socket.connectToServer();
    page = socket;
  });
  await ann.looks();
  await ann.sees("waiting");
  const tell = (parts) => page.send(JSON.stringify({ degraded: { states: parts.map(({ name }) => name), parts } }));
  const part = (name, causes = [], unavailable = false) => ({ name, unavailable, causes });
  for (const [parts, text] of [
    [[part("presence", ["redis"])], "Who is online may be out of date."],
    [[part("chat", [], true)], "Messages cannot be sent or received right now."],
    [[part("chat", ["database", "redis"])], "Messages cannot be sent right now."],
    [[part("matchmaking", [], true), part("ratelimit")], "Nobody new can be found right now. You may be asked to slow down sooner than usual."],
    [[part("chat", ["redis"]), part("matchmaking", ["index", "redis"])], "Finding someone may take a little longer."],
  ]) {
    tell(parts);
    const shown = ann.page.locator("#banner-text");
    await until(text, async () => (await shown.textContent()) === text);
    await ann.sees("banner", { kind: "degraded" });
  }
  await ann.shoots("degraded");
  for (const unnoticed of [[part("chat", ["redis"])], ["chat", "matchmaking"].map((name) => part(name, ["notifications"]))]) {
    tell([part("presence")]);
    await ann.sees("banner", { kind: "degraded" });
    tell(unnoticed);
    await ann.seesNo("banner");
  }
  tell([]);
  // As of a gateway that is older.
  page.send(JSON.stringify({ degraded: { states: ["presence"] } }));
  await ann.sees("banner", { kind: "degraded" }, "Who is online may be out of date.");
});

pageTest("who does something too often is told when to go on", { outage: true }, async ({ people }) => {
  const ann = await people.arrives("ann");
  const limited = { code: "RESOURCE_EXHAUSTED", reason: "RATE_LIMITED", field: "", message: "too many" };
  let signIns = 0;
  await ann.page.route("**/api/dev/token", (route) => {
    signIns += 1;
    if (signIns > 1) return route.continue();
    return route.fulfill({ status: 429, contentType: "application/problem+json", body: JSON.stringify({ ...limited, retryAfterMs: 840_001 }) });
  });
  let joins = 0;
  await ann.page.routeWebSocket(/\/ws$/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      const { id, matchJoin } = JSON.parse(text);
      if (!matchJoin || ++joins > 1) return server.send(text);
      socket.send(JSON.stringify({ id, error: { ...limited, retryAfterMs: 11_000 } }));
    });
  });
  await ann.looks();
  await ann.sees("start-error", {}, "Too many people sign in from your network. Try again in 15 minutes.");
  await ann.shoots("sign-in-limited");
  await ann.looks();
  await ann.page.getByRole("heading", { name: "You have searched often. The next search begins in 11 seconds" }).waitFor();
  await ann.shoots("search-limited");
  await ann.page.getByRole("heading", { name: "Looking for someone" }).waitFor();
  const bob = await people.arrives("bob");
  await bob.looks();
  await ann.sees("conversation");
});
