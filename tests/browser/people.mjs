// People at the page: one browser, and a person in each tab.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { serverTest } from "./mingle.mjs";

const OUTPUT = process.env.MINGLE_TEST_OUTPUT ?? fileURLToPath(new URL("../output", import.meta.url));
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const WAIT_MS = 20_000;
const DESKTOP = { viewport: { width: 1200, height: 800 } };
/** What a browser says by itself of a server that is away, or busy. */
const OUTAGE = /^(WebSocket connection to .* failed|Failed to load resource: (net::ERR_|.* status of (429|503)))/;

let browser;
after(() => browser?.close());

/** Starts the browser at the first call. */
async function open() {
  browser ??= await chromium.launch({ executablePath: process.env.MINGLE_CHROMIUM ?? "/usr/bin/chromium", args: ARGS });
  return browser;
}

/** One person in one tab. */
export class Person {
  #problems = [];

  constructor(name, page) {
    this.name = name;
    this.page = page;
    page.setDefaultTimeout(WAIT_MS);
    page.on("console", (line) => ["error", "warning"].includes(line.type()) && this.#problems.push(`${name}: ${line.text()}`));
    page.on("pageerror", (error) => this.#problems.push(`${name}: ${error.stack}`));
  }

  /** The element with this test id; `state` narrows it by data-* values. */
  at(testid, state = {}) {
    const rest = Object.entries(state).map(([key, value]) => `[data-${key}="${value}"]`);
    return this.page.locator(`[data-testid="${testid}"]${rest.join("")}`);
  }

  /** Waits until the element is seen, and answers it. */
  async sees(testid, state = {}, text = undefined) {
    const found = this.at(testid, state).filter(text === undefined ? {} : { hasText: text }).first();
    await found.waitFor();
    return found;
  }

  async seesNo(testid, state = {}) {
    await this.at(testid, state).first().waitFor({ state: "hidden" });
  }

  /** Says who they are and presses *Find someone*. */
  async looks({ gender = "other", wants = [] } = {}) {
    await this.at("user-id-input").fill(this.name);
    await this.at(`gender-${gender}`).check();
    for (const want of wants) await this.at(`want-${want}`).check();
    await this.at("find-button").click();
  }

  async says(text) {
    await this.at("composer").fill(text);
    await this.at("send-button").click();
  }

  async hears(text) {
    return this.sees("message", { mine: false }, text);
  }

  /** What is said in the view, top to bottom. */
  async reads() {
    return this.at("message-body").allTextContents();
  }

  async ownMessage(text) {
    return this.sees("message", { mine: true }, text);
  }

  /** The tab is in the background, as the page is told, or in front again. */
  async looksAway(away = true) {
    await this.page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, away);
  }

  async shoots(name) {
    mkdirSync(OUTPUT, { recursive: true });
    await this.page.screenshot({ path: path.join(OUTPUT, `${name}.png`), animations: "disabled" });
  }

  /** Console errors and warnings, without those of a server that was away. */
  problems({ outage }) {
    return this.#problems.filter((text) => !outage || !OUTAGE.test(text.replace(`${this.name}: `, "")));
  }
}

/** The people of one test, each in a browser context of their own. */
export class People {
  #persons = [];
  #mingle;

  constructor(mingle) {
    this.#mingle = mingle;
  }

  /** Someone opens the page, at `url` if given, or else over a wire of their own. `options` are those of the browser context. */
  async arrives(name, { url, ...options } = {}) {
    url ??= (await this.#mingle.wire()).url;
    const context = await (await open()).newContext({ ...DESKTOP, ...options });
    const person = this.sits(name, await context.newPage());
    await person.page.goto(url);
    return person;
  }

  /** Takes a page that was opened otherwise into the count. */
  sits(name, page) {
    const person = new Person(name, page);
    this.#persons.push(person);
    return person;
  }

  /** Two arrive and are led together. */
  async pair(one, other) {
    const pair = [await this.arrives(one), await this.arrives(other)];
    await meet(...pair);
    return pair;
  }

  problems(rule) {
    return this.#persons.flatMap((person) => person.problems(rule));
  }

  async shoot(name) {
    for (const person of this.#persons) await person.shoots(`${name}-${person.name}`).catch(() => {});
  }

  async leave() {
    for (const person of this.#persons) await person.page.context().close();
  }
}

/** Both look, and are in a conversation with each other. */
export async function meet(one, other) {
  await one.looks();
  await one.sees("waiting");
  await other.looks();
  for (const person of [one, other]) {
    await person.sees("conversation");
    await person.sees("partner-presence", { status: "ONLINE" });
  }
}

/**
 * A test of the page over a system of its own: `run({mingle, wire, people})`.
 * The browser's console has to stay silent; `outage` says that the server is
 * away or busy for a while, of which a browser tells by itself.
 */
export function pageTest(name, { outage = false } = {}, run) {
  serverTest(name, async (mingle) => {
    const wire = await mingle.wire();
    const people = new People(mingle);
    try {
      await run({ mingle, wire, people });
      assert.deepEqual(people.problems({ outage }), [], "the console is silent");
    } catch (error) {
      await people.shoot(`failed-${name.replaceAll(/\W+/g, "-").slice(0, 40)}`);
      console.error(people.problems({ outage: false }).join("\n"));
      throw error;
    } finally {
      await people.leave();
    }
  });
}
