// mingle.js in Node: clients that keep what they were told.

import { afterEach } from "node:test";
import WebSocket from "ws";
import { Mingle } from "../../gateway/web/mingle.js";
import { until } from "./mingle.mjs";

const EVENTS = ["message", "edited", "deleted", "member", "roomClosed", "matched", "ticket", "reset", "presence", "typing", "read", "gap", "degraded", "draining", "limited", "welcome", "state"];

// A client that is not closed connects for ever, and no test would end.
const open = new Set();
afterEach(() => {
  for (const each of open) each.close();
  open.clear();
});

/** A development token of the gateway at `url`. */
export async function devToken(url, userId) {
  const answer = await fetch(`${url}/api/dev/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ userId }),
  });
  if (!answer.ok) throw new Error(`no token: HTTP ${answer.status}`);
  return answer.json();
}

/** A client that writes down every event. */
export class Recorder extends Mingle {
  /** `[name, event]` in the order of arrival. */
  events = [];

  constructor(options) {
    super({ webSocket: WebSocket, backoffBaseMs: 20, backoffCapMs: 200, ...options });
    open.add(this);
    for (const name of EVENTS) this.on(name, (event) => this.events.push([name, event]));
  }

  /** The events of one name. */
  told(name) {
    return this.events.filter(([found]) => found === name).map(([, event]) => event);
  }

  /** What was said, in the order it was told. */
  get bodies() {
    return this.told("message").map(({ body }) => body);
  }

  /** How often it was in this state. */
  times(state) {
    return this.told("state").filter((change) => change.state === state).length;
  }
}

/** A client of `userId` at a real gateway. */
export function client(url, userId, options = {}) {
  return new Recorder({ url, getToken: () => devToken(url, userId), ...options });
}

/** Leads two connected clients into one room; answers its id. */
export async function meet(one, other) {
  await one.matchJoin("random-chat", { attributes: { gender: "female" } });
  await other.matchJoin("random-chat", { attributes: { gender: "male" } });
  for (const each of [one, other]) await until("they are matched", () => each.told("matched").length === 1);
  const [{ roomId }] = one.told("matched");
  for (const each of [one, other]) await each.roomJoin(roomId, { after: { seq: 0, id: "" } });
  return roomId;
}
