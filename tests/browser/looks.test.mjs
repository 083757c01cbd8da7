// What the page looks like: pictures of its views, kept to be looked at, and
// what can be measured of them.

import assert from "node:assert/strict";
import { until } from "./mingle.mjs";
import { pageTest } from "./people.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const KINDS = {
  "desktop-light": { colorScheme: "light" },
  "desktop-dark": { colorScheme: "dark" },
  "phone-light": { ...PHONE, colorScheme: "light" },
  "phone-dark": { ...PHONE, colorScheme: "dark" },
};

for (const [kind, options] of Object.entries(KINDS)) {
  pageTest(`looks: ${kind}`, {}, async ({ people }) => {
    const ann = await people.arrives("ann", options);
    const bob = await people.arrives("bob");
    const view = async (name) => {
      await ann.shoots(`page-${kind}-${name}`);
      await fits(ann, name);
    };
    await view("1-start");
    await ann.looks();
    await ann.sees("estimate", {}, /Not enough matches/);
    await view("2-waiting");
    await bob.looks();
    for (const person of [ann, bob]) await person.sees("partner-presence", { status: "ONLINE" });
    await talk(ann, bob);
    await view("3-conversation");
    await bob.at("next-button").click();
    await ann.sees("ended");
    await view("4-ended");
    await ann.at("leave-button").click();
    if (options.isMobile) await ann.page.getByRole("button", { name: "Earlier conversations" }).click();
    await ann.sees("history-item");
    await view("5-earlier");
  });
}

async function talk(ann, bob) {
  await bob.says("Hello! I have just come back from a long walk along the river, and there were herons everywhere. How was your day?");
  await ann.hears("Hello!");
  await ann.says("Quite well, thank you.");
  await ann.says("A correction follows");
  await until("it is sent", async () => /✓/.test(await (await ann.ownMessage("A correction follows")).textContent()));
  await ann.page.keyboard.press("ArrowUp");
  await ann.at("edit-input").fill("I stayed in and read.");
  await ann.at("edit-save").click();
  await bob.hears("I stayed in");
  await bob.says("withdrawn");
  await ann.hears("withdrawn");
  await bob.sees("message", { mine: true, state: "read" }, "withdrawn");
  await bob.page.keyboard.press("Shift+Tab");
  await bob.page.keyboard.press("Enter");
  await ann.sees("message", { deleted: true });
  await bob.says("https://example.com/a-rather-long-address-without-any-place-to-break-it/and-more-of-it/and-more");
  await ann.hears("example.com");
  await bob.at("composer").pressSequentially("What did y");
  await ann.sees("typing-indicator");
  await ann.sees("message", { mine: true, state: "read" });
}

/** Nothing is wider than the screen, names can be read, and what can be pressed is large enough. */
async function fits({ page }, view) {
  const { over, cut, small } = await page.evaluate(() => ({
    over: document.documentElement.scrollWidth - innerWidth,
    cut: [...document.querySelectorAll(".who > *")].filter((node) => node.scrollWidth > node.clientWidth).map((node) => node.id),
    small: [...document.querySelectorAll("button, textarea, input:not([type=radio], [type=checkbox])")]
      .filter((node) => node.checkVisibility() && node.getBoundingClientRect().height < 24)
      .map((node) => node.id || node.dataset.testid),
  }));
  assert.ok(over <= 0, `${view}: ${over} px too wide`);
  assert.deepEqual(cut, [], `${view}: cut off`);
  assert.deepEqual(small, [], `${view}: too small to press`);
}
