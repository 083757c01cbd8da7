// The waiting view: how long it has been, and an honest word on how long it
// may take.

import { announce, byId, countDown, soon } from "./dom.js";

const POOL_EVERY_MS = 5000;
const LOOKING = "Looking for someone";

export class Waiting {
  #client;
  #since = 0;
  #clock;
  #poll;
  #stopCount = () => {};

  /** Starts to show the wait in `pool` for one who wants `wants`. */
  start(client, pool, wants) {
    this.stop();
    this.#client = client;
    this.#since = Date.now();
    byId("waiting-title").textContent = LOOKING;
    byId("waiting-who").textContent = wants.length === 0 ? "You will talk with anyone." : `You asked for: ${wants.join(" or ")}.`;
    byId("waiting-estimate").textContent = "";
    byId("waiting-pool").textContent = "";
    byId("cancel").disabled = false;
    this.#tick();
    this.#clock = setInterval(() => this.#tick(), 1000);
    this.#poll = setInterval(() => void this.#ask(pool), POOL_EVERY_MS);
    void this.#ask(pool);
    announce(LOOKING);
  }

  /** Puts the headline back, if it was replaced. */
  goOn() {
    if (byId("waiting-title").textContent !== LOOKING) this.say(LOOKING);
  }

  stop() {
    clearInterval(this.#clock);
    clearInterval(this.#poll);
    this.#stopCount();
    this.#client = null;
  }

  /** Replaces the headline, for instance while cancelling. */
  say(text) {
    this.#stopCount();
    byId("waiting-title").textContent = text;
    announce(text);
  }

  /** The search has to wait for `ms`, which are counted down. */
  limited(ms) {
    if (!this.#client) return;
    const words = (when) => `You have searched often. The next search begins ${when}`;
    this.say(words(soon(ms)));
    this.#stopCount = countDown(ms, (when) => (byId("waiting-title").textContent = words(when)), () => this.goOn());
  }

  #tick() {
    const seconds = Math.floor((Date.now() - this.#since) / 1000);
    byId("waiting-elapsed").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }

  async #ask(pool) {
    const client = this.#client;
    if (!client || client.state !== "open") return;
    const view = await client.pool(pool).catch(() => null);
    if (this.#client !== client) return;
    byId("waiting-estimate").textContent = view ? estimate(view) : "How long it takes cannot be told right now.";
    byId("waiting-pool").textContent = view ? crowd(view) : "";
  }
}

function estimate({ medianWaitMs }) {
  if (medianWaitMs === undefined) return "Not enough matches lately to tell how long it takes.";
  if (medianWaitMs < 1000) return "Lately, half of all matches took less than a second.";
  const seconds = Math.round(medianWaitMs / 1000);
  const time = seconds < 90 ? `${seconds} ${seconds === 1 ? "second" : "seconds"}` : `${Math.round(seconds / 60)} minutes`;
  return `Lately, half of all matches took less than about ${time}.`;
}

function crowd({ waiting, matchesLastMinute }) {
  const people = waiting <= 1 ? "Nobody else is waiting" : `${waiting - 1} other ${waiting === 2 ? "person is" : "people are"} waiting`;
  const matches = matchesLastMinute === 1 ? "1 match" : `${matchesLastMinute} matches`;
  return `${people}; ${matches} in the last minute.`;
}
