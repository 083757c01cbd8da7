// Requests that wait for their answers, across reconnects. Part of mingle.js.

import { MingleError, jitter } from "./mingle-wire.js";

const encoder = new TextEncoder();
/**
 * The longest back-off of who was answered UNAVAILABLE: it costs the server
 * little, and tells of an end of the outage that no event tells of.
 */
const REFUSED_CAP_MS = 5000;
/** Within this the requests of an outage come back that has ended. */
export const RETURN_MS = 2000;
const ROLES = new Map([
  ["matchJoin", "matchmaking"],
  ["matchLeave", "matchmaking"],
  ["presenceSet", "presence"],
]);
const roleOf = (kind) => ROLES.get(kind) ?? "chat";

export class Calls {
  #options;
  #waiting = new Set();
  #byId = new Map();
  #open = false;
  #ended = null;

  /**
   * `options`: link, backoff, timeoutMs, backlogLimit (of kept requests, and
   * as much again of others), maxFrameBytes, limited({kind, body, error,
   * retryInMs}) which is told of a request that waits for its limit.
   */
  constructor(options) {
    this.#options = options;
  }

  /** How many kept requests (sends) have no answer yet. */
  get kept() {
    let count = 0;
    for (const call of this.#waiting) if (call.keep) count += 1;
    return count;
  }

  /**
   * Asks and resolves with the member of the reply. A request that meets a
   * retryable error or a lost socket is sent again: until `timeoutMs` has
   * passed, or, when `keep` is set, until it is answered. Requests of one
   * `lane` go one at a time, in order. `taken` sees the reply before any frame
   * behind it is read, which a promise cannot promise.
   */
  request(kind, body, { timeoutMs = this.#options.timeoutMs, keep = false, lane = "", taken = null } = {}) {
    return new Promise((resolve, reject) => {
      const call = { kind, body, keep, lane, taken, timeoutMs, resolve, reject };
      Object.assign(call, { id: 0, attempt: 0, bytes: 0, paused: false, due: 0, deadline: 0, timer: undefined, expiry: undefined });
      const refusal = this.#refusal(call);
      if (refusal) return reject(refusal);
      if (!keep) {
        call.deadline = Date.now() + timeoutMs;
        call.expiry = setTimeout(() => this.#expire(call), timeoutMs);
      }
      this.#waiting.add(call);
      this.#pump();
    });
  }

  /** Sends when that is possible now, and forgets it. */
  volatile(kind, body) {
    this.#options.link.send(kind, body);
  }

  /** A connection is being made: requests may wait for it. */
  begin() {
    this.#ended = null;
  }

  opened() {
    this.#open = true;
    this.#pump();
  }

  /** The socket is gone: what was on it will be sent again. */
  down(code) {
    this.#open = false;
    this.#byId.clear();
    let largest = null;
    for (const call of this.#waiting) {
      if (call.id !== 0 && call.bytes > (largest?.bytes ?? 0)) largest = call;
      this.#rewind(call);
    }
    // 1009 does not say which frame was too big: the largest under way is the
    // one to give up, or each connection would end the same way.
    if (code === 1009 && largest) this.#finish(largest, frameTooLarge());
  }

  /** Takes a reply; false when nobody waits for it. */
  settle(frame) {
    const call = this.#byId.get(frame.id);
    if (!call) return false;
    if (!frame.error) {
      const kind = Object.keys(frame).find((key) => key !== "id");
      this.#finish(call, null, frame[kind]);
    } else {
      this.#failed(call, new MingleError(frame.error));
    }
    this.#pump();
    return true;
  }

  /**
   * `role` is better than it was: what waits for it goes on at a random time
   * soon, since everybody's does, and as if it had not failed before. What
   * waits for a limit goes on waiting.
   */
  recovered(role) {
    const soon = { ...this.#options.backoff, baseMs: RETURN_MS, capMs: RETURN_MS };
    for (const call of this.#waiting) {
      if (!call.paused || call.due === 0 || roleOf(call.kind) !== role) continue;
      call.attempt = 0;
      const wait = jitter(soon, 0);
      if (Date.now() + wait < call.due) this.#pause(call, wait);
    }
  }

  /** Rejects everything that waits, and what is asked until `begin`. */
  abort(error) {
    this.#open = false;
    this.#ended = error;
    for (const call of [...this.#waiting]) this.#finish(call, error);
  }

  #refusal(call) {
    if (this.#ended) return this.#ended;
    const { backlogLimit, maxFrameBytes } = this.#options;
    const full = call.keep ? this.kept >= backlogLimit : this.#waiting.size >= 2 * backlogLimit;
    if (full) {
      return new MingleError({ code: "RESOURCE_EXHAUSTED", reason: "BACKLOG_FULL", message: `${backlogLimit} requests wait already` });
    }
    call.bytes = encoder.encode(JSON.stringify({ id: 0x7fffffff, [call.kind]: call.body })).length;
    return call.bytes > maxFrameBytes ? frameTooLarge() : null;
  }

  #pump() {
    if (!this.#open) return;
    const lanes = new Set();
    for (const call of this.#waiting) {
      if (call.lane) {
        if (lanes.has(call.lane)) continue;
        lanes.add(call.lane);
      }
      if (call.id === 0 && !call.paused) this.#transmit(call);
    }
  }

  #transmit(call) {
    const id = this.#options.link.send(call.kind, call.body);
    if (id === 0) return;
    call.id = id;
    this.#byId.set(id, call);
    if (!call.keep) return;
    const lost = new MingleError({ code: "DEADLINE_EXCEEDED", reason: "DEADLINE" });
    call.timer = setTimeout(() => this.#failed(call, lost), call.timeoutMs);
  }

  #failed(call, error) {
    if (!error.retryable) return this.#finish(call, error);
    const { backoff } = this.#options;
    const capMs = error.code === "UNAVAILABLE" ? Math.min(backoff.capMs, REFUSED_CAP_MS) : backoff.capMs;
    const wait = Math.max(error.retryAfterMs, jitter({ ...backoff, capMs }, call.attempt));
    if (!call.keep && Date.now() + wait >= call.deadline) return this.#finish(call, error);
    this.#rewind(call);
    call.attempt += 1;
    if (error.reason === "RATE_LIMITED") this.#options.limited({ kind: call.kind, body: call.body, error, retryInMs: wait });
    this.#pause(call, wait);
    // A limit does not end with an outage.
    if (error.code === "RESOURCE_EXHAUSTED") call.due = 0;
  }

  #pause(call, wait) {
    clearTimeout(call.timer);
    call.paused = true;
    call.due = Date.now() + wait;
    call.timer = setTimeout(() => {
      call.paused = false;
      this.#pump();
    }, wait);
  }

  #rewind(call) {
    clearTimeout(call.timer);
    this.#byId.delete(call.id);
    call.id = 0;
    call.paused = false;
  }

  #expire(call) {
    const message = call.id === 0 ? "not sent: there is no connection" : "no answer in time; the outcome is unknown";
    this.#finish(call, new MingleError({ code: "DEADLINE_EXCEEDED", reason: "DEADLINE", message }));
    this.#pump();
  }

  #finish(call, error, value) {
    this.#rewind(call);
    clearTimeout(call.expiry);
    this.#waiting.delete(call);
    if (error) return call.reject(error);
    call.taken?.(value);
    call.resolve(value);
  }
}

function frameTooLarge() {
  return new MingleError({ code: "INVALID_ARGUMENT", reason: "FRAME_TOO_LARGE", message: "the message is too large to send" });
}
