// The Mingle client for browsers and Node: one lasting connection to a
// gateway, whatever sockets it takes. No dependencies; types in mingle.d.ts.
//
//   const mingle = new Mingle({ getToken: async () => (await login()).token });
//   mingle.on("message", (message) => show(message));
//   await mingle.connect();
//   await mingle.matchJoin("random-chat", { attributes: { gender: "female" } });
//
// 64-bit fields are numbers in everything it hands out; see mingle-wire.js.

import { Access } from "./mingle-access.js";
import { Calls, RETURN_MS } from "./mingle-calls.js";
import { Link } from "./mingle-link.js";
import { Match } from "./mingle-match.js";
import { Rooms, isLogEvent } from "./mingle-rooms.js";
import { CLOSE, MingleError, jitter, newId } from "./mingle-wire.js";

export { CLOSE, MingleError, newId };

const DEFAULTS = {
  requestTimeoutMs: 10_000,
  connectTimeoutMs: 10_000,
  pongTimeoutMs: 7000,
  backlogLimit: 200,
  backoffBaseMs: 250,
  backoffCapMs: 15_000,
  ticketCheckMs: 20_000,
  maxFrameBytes: 65_536,
  random: Math.random,
};

export class Mingle {
  #options;
  #access;
  #link;
  #calls;
  #rooms = new Rooms();
  #match;
  #listeners = new Map();
  #backoff;
  #resumeToken = "";
  #resuming = false;
  #watched = null;
  #status = "";
  #connecting = null;
  /** What was told last: by role, how bad it is. */
  #badness = new Map();
  /** Lets each heal that waits go on soon. */
  #waiting = new Set();

  /** The user that the server verified; empty before the first welcome. */
  userId = "";
  /** The session, which outlives sockets; empty before the first welcome. */
  sessionId = "";

  constructor(options = {}) {
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    this.#options = { url: globalThis.location?.origin, webSocket: globalThis.WebSocket, ...DEFAULTS, ...Object.fromEntries(given) };
    const { url, webSocket, token, getToken, connectTimeoutMs, pongTimeoutMs } = this.#options;
    if (!url) throw required("url");
    if (!webSocket) throw required("webSocket");
    if (!token && !getToken) throw required("token");
    this.#access = new Access(this.#options);
    const { backoffBaseMs: baseMs, backoffCapMs: capMs, random } = this.#options;
    this.#backoff = { baseMs, capMs, random };
    this.#link = new Link(
      { url: this.#access.socketUrl, webSocket, backoff: this.#backoff, connectTimeoutMs, pongTimeoutMs, canRenew: Boolean(getToken) },
      {
        hello: (renew) => this.#hello(renew),
        refused: (error) => this.#resumeRefused(error),
        welcome: (welcome) => this.#welcomed(welcome),
        frame: (frame) => this.#received(frame),
        down: (code) => this.#calls.down(code),
        state: (change) => this.#stateChanged(change),
      },
    );
    this.#calls = new Calls({
      link: this.#link,
      backoff: this.#backoff,
      timeoutMs: this.#options.requestTimeoutMs,
      backlogLimit: this.#options.backlogLimit,
      maxFrameBytes: this.#options.maxFrameBytes,
      limited: ({ kind, body, error, retryInMs }) => {
        this.#emit("limited", { kind, roomId: body.roomId ?? "", clientMsgId: body.clientMsgId ?? "", retryInMs, error });
      },
    });
    this.#match = new Match({
      join: (body) => this.#calls.request("matchJoin", body),
      leave: (ticketId) => this.#calls.request("matchLeave", { ticketId }),
      ticket: (ticketId) => this.ticket(ticketId),
      emit: (name, event) => this.#emit(name, event),
      ready: () => this.state === "open",
      checkMs: this.#options.ticketCheckMs,
    });
  }

  /** "idle", "connecting", "open", "reconnecting" or "closed". */
  get state() {
    return this.#link.state;
  }

  /** How many messages were sent and not answered yet. */
  get pending() {
    return this.#calls.kept;
  }

  /** The ticket that waits for a partner, or "". */
  get ticketId() {
    return this.#match.ticketId;
  }

  /** The last event handled of a followed room, `{seq, id}`, or undefined. */
  position(roomId) {
    return this.#rooms.position(roomId);
  }

  /** Calls `listener` at each event `name`; answers a function that ends it. */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.#listeners.get(name).delete(listener);
  }

  /**
   * Opens the connection and keeps it. Resolves at the first welcome; rejects
   * with what ended it for good. Also opens again what was closed.
   */
  connect() {
    if (this.state === "open") return Promise.resolve();
    if (!this.#connecting) {
      this.#connecting = {};
      this.#connecting.promise = new Promise((resolve, reject) => Object.assign(this.#connecting, { resolve, reject }));
      this.#connecting.promise.catch(() => {}); // the state event tells it too
    }
    this.#link.start();
    return this.#connecting.promise;
  }

  /** Ends the connection. What waits for an answer is rejected. */
  close() {
    this.#match.stop();
    this.#link.stop(new MingleError({ code: "CANCELLED", reason: "CLIENT_CLOSED" }));
  }

  /** The network is back or the tab is seen again: check the connection now. */
  wake() {
    this.#link.wake();
  }

  /** Waits for a partner. Answers the ticket; `matched` follows. */
  async matchJoin(pool, { attributes = {}, wants = {} } = {}) {
    const body = { pool, attributes, wants };
    let isOld = false;
    const taken = (ticket) => {
      isOld = this.#match.wasTold(ticket);
      if (!isOld) this.#match.follow(body, ticket);
    };
    const ticket = await this.#calls.request("matchJoin", body, { taken });
    // The match was told by an answer of HTTP, of which this socket did not
    // know yet: from this answer on it does.
    return isOld ? this.#calls.request("matchJoin", body, { taken: (next) => this.#match.follow(body, next) }) : ticket;
  }

  /**
   * Takes up a ticket of an earlier page, with the content it was joined
   * with: `matched` or `ticket` tells what became of it.
   */
  async matchResume(ticketId, pool, { attributes = {}, wants = {} } = {}) {
    this.#match.follow({ pool, attributes, wants }, { ticketId, state: "WAITING" });
    if (this.state === "open") await this.#match.check(true);
  }

  /**
   * Stops waiting. Answers CANCELLED or, when that came first, MATCHED. The
   * ticket is not joined again from here on, even when this fails.
   */
  matchLeave(ticketId = this.#match.ticketId, { timeoutMs } = {}) {
    if (ticketId === this.#match.ticketId) this.#match.stop();
    return this.#calls.request("matchLeave", { ticketId }, { timeoutMs, taken: (ticket) => this.#match.left(ticket) });
  }

  /**
   * Joins and follows a room. With `after` the events after that place come
   * first, else only what is new. A room that is followed already goes on
   * from its own place.
   */
  roomJoin(roomId, { after } = {}) {
    const place = this.#rooms.position(roomId) ?? after;
    const body = place ? { roomId, after: { seq: String(place.seq), id: place.id } } : { roomId };
    // Taken at once, since the events after the place are behind the reply.
    return this.#calls.request("roomJoin", body, { taken: (room) => this.#placed(room, place) });
  }

  /** Ends the membership; a pair room closes. Tries for `timeoutMs`. */
  async roomLeave(roomId, { timeoutMs } = {}) {
    await this.#calls.request("roomLeave", { roomId }, { timeoutMs, taken: () => this.#rooms.forget(roomId) });
  }

  /**
   * Says something. The message is kept and sent again, with the same
   * `clientMsgId`, until the server answers; messages of a room go in order.
   */
  send(roomId, body, { clientMsgId = newId(), metadata = {} } = {}) {
    return this.#calls.request("send", { roomId, clientMsgId, body, metadata }, { keep: true, lane: roomId });
  }

  /** Replaces the body of one's own message. */
  async edit(roomId, messageId, body) {
    await this.#calls.request("edit", { roomId, messageId, body });
  }

  /** Deletes one's own message. */
  async delete(roomId, messageId) {
    await this.#calls.request("delete", { roomId, messageId });
  }

  /** Reads messages before a seq, or the newest; oldest first. */
  history(roomId, { before = 0, limit = 50 } = {}) {
    return this.#calls.request("history", { roomId, before: String(before), limit });
  }

  /** Moves the read cursor on. */
  async read(roomId, seq) {
    await this.#calls.request("read", { roomId, seq: String(seq) });
  }

  /** Tells the room that one is typing, if connected. At most every 3 s. */
  typing(roomId) {
    this.#calls.volatile("typing", { roomId });
  }

  /** Follows these users instead of those before; lasts across reconnects. */
  async presenceWatch(userIds) {
    this.#watched = [...userIds];
    const { presences } = await this.#calls.request("presenceWatch", { userIds: this.#watched });
    return presences;
  }

  /** Sets one's own status; lasts across reconnects. */
  async presenceSet(status) {
    this.#status = status;
    await this.#calls.request("presenceSet", { status });
  }

  /** Measures the way there and back, in ms. */
  async ping() {
    const start = performance.now();
    await this.#calls.request("ping", {});
    return performance.now() - start;
  }

  /** GET /api/match/tickets/{id} */
  ticket(ticketId) {
    return this.#access.get(`api/match/tickets/${encodeURIComponent(ticketId)}`);
  }

  /** GET /api/match/pools/{pool} */
  pool(name) {
    return this.#access.get(`api/match/pools/${encodeURIComponent(name)}`);
  }

  /** GET /api/rooms: the caller's rooms, most recently active first. */
  rooms({ pageSize = 20, pageToken = "" } = {}) {
    return this.#access.get(`api/rooms?${new URLSearchParams(pageToken ? { pageSize, pageToken } : { pageSize })}`);
  }

  async #hello(renew) {
    const hello = { token: await this.#access.bearer(renew) };
    this.#resuming = this.#resumeToken !== "";
    if (this.#resuming) hello.resume = { token: this.#resumeToken, rooms: this.#rooms.positions() };
    return hello;
  }

  // A resume that the server does not take is no reason to stay away: a new
  // session follows the same rooms from the same places.
  #resumeRefused(error) {
    const aboutResume = error.field.includes("resume") || (error.code !== "UNAUTHENTICATED" && !error.retryable);
    if (!this.#resuming || !aboutResume) return false;
    this.#resumeToken = "";
    return true;
  }

  #welcomed(welcome) {
    this.userId = welcome.userId;
    this.sessionId = welcome.sessionId;
    this.#resumeToken = welcome.resumeToken;
    const answered = new Set();
    for (const room of welcome.rooms ?? []) {
      // Not read just now: asked again below, from the same place.
      if (room.reason === "unavailable") continue;
      answered.add(room.roomId);
      this.#placed(room, this.#rooms.position(room.roomId));
    }
    for (const { roomId } of this.#rooms.positions()) if (!answered.has(roomId)) void this.#heal(roomId);
    if (this.#status) this.#calls.volatile("presenceSet", { status: this.#status });
    this.#calls.opened();
    if (this.#watched?.length) void this.#watchAgain();
    void this.#match.check(true);
    this.#emit("welcome", welcome);
    this.#degraded({ states: [] });
  }

  async #watchAgain() {
    const presences = await this.presenceWatch(this.#watched).catch(() => []);
    for (const presence of presences) this.#emit("presence", presence);
  }

  #received(frame) {
    if (frame.id !== undefined && frame.id !== null) {
      this.#calls.settle(frame);
      return;
    }
    for (const [kind, event] of Object.entries(frame)) {
      if (isLogEvent(kind)) this.#logged(kind, event);
      else if (kind === "gap") void this.#heal(event.roomId);
      else if (kind === "matched") this.#match.matched(event);
      else {
        if (kind === "draining") this.#link.draining(event.retryAfterMs);
        if (kind === "degraded") this.#degraded(event);
        else this.#emit(kind, event);
      }
    }
  }

  // A gateway that is well says nothing of it: what another one was ends with
  // the welcome, and what this one is comes behind it.
  #degraded({ states, parts = [] }) {
    const before = this.#badness;
    if (states.length === 0 && before.size === 0) return;
    const known = new Map(parts.map((part) => [part.name, part]));
    this.#badness = new Map(states.map((role) => [role, badness(known.get(role))]));
    for (const [role, was] of before) if ((this.#badness.get(role) ?? 0) < was) this.#recovered(role);
    this.#emit("degraded", { states, parts });
  }

  #recovered(role) {
    this.#calls.recovered(role);
    if (role === "chat") for (const goOn of this.#waiting) goOn();
  }

  #logged(kind, event) {
    const place = this.#rooms.place(kind, event);
    if (place === "hole") void this.#heal(event.roomId);
    if (place !== "next") return;
    this.#emit(kind, event);
    this.#rooms.advance(kind, event);
    const gone = kind === "member" && !event.joined && event.userId === this.userId;
    if (kind === "roomClosed" || gone) this.#rooms.forget(event.roomId);
  }

  #placed(room, after) {
    if (this.#rooms.joined(room, after)) this.#emit("reset", { roomId: room.roomId, reason: room.reason, room: room.reason === "not_found" ? null : room });
    // Nothing more happens in a closed room once its log is read.
    if (room.closed && this.#rooms.position(room.roomId)?.seq >= room.headSeq) this.#rooms.forget(room.roomId);
  }

  // Joins again from the last place. A heal that brings nothing waits longer
  // each time, so that a hole the server cannot fill is no busy loop.
  async #heal(roomId) {
    const strikes = this.#rooms.startHealing(roomId);
    if (strikes < 0) return;
    if (strikes > 0) await this.#wait(this.#backoff.baseMs + jitter(this.#backoff, strikes));
    if (!this.#rooms.has(roomId)) return;
    try {
      await this.roomJoin(roomId);
    } catch (error) {
      this.#rooms.stopHealing(roomId);
      if (error.retryable && this.state !== "closed") {
        void this.#heal(roomId);
      } else if (this.state !== "closed") {
        this.#rooms.forget(roomId);
        this.#emit("reset", { roomId, reason: error.reason.toLowerCase(), room: null });
      }
    }
  }

  // For `ms`, or until soon after chat is better.
  #wait(ms) {
    return new Promise((resolve) => {
      const after = (delay) => setTimeout(() => resolve(this.#waiting.delete(goOn)), delay);
      const timer = after(ms);
      const goOn = () => {
        this.#waiting.delete(goOn);
        clearTimeout(timer);
        after(Math.min(ms, jitter({ ...this.#backoff, baseMs: RETURN_MS, capMs: RETURN_MS }, 0)));
      };
      this.#waiting.add(goOn);
    });
  }

  #stateChanged(change) {
    if (change.state === "closed") {
      const error = change.error ?? new MingleError({ code: "UNAVAILABLE", reason: "CONNECTION_LOST" });
      this.#resumeToken = "";
      this.#calls.abort(error);
      this.#connecting?.reject(error);
      this.#connecting = null;
    } else if (change.state === "connecting") {
      this.#calls.begin();
    } else if (change.state === "open") {
      this.#connecting?.resolve();
      this.#connecting = null;
    }
    this.#emit("state", change);
  }

  // A listener's fault is its own: it must not cost the other listeners their
  // event, nor the room its place, nor, where it is an async function, a Node
  // program its life.
  #emit(name, event) {
    const report = (error) => (globalThis.reportError ?? console.error)(error);
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(event)?.catch?.(report);
      } catch (error) {
        report(error);
      }
    }
  }
}

// 2 when requests are refused, or nobody knows better; 1 when they go on with
// something else away, as a role may be for good.
function badness(part) {
  const serves = part && !part.unavailable && part.causes.length > 0 && !part.causes.includes("database");
  return serves ? 1 : 2;
}

function required(field) {
  return new MingleError({ code: "INVALID_ARGUMENT", reason: "REQUIRED", field, message: `${field} is required` });
}
