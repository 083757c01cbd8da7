// One lasting connection over many sockets: dialling, hello, keep-alive,
// back-off and the retry rule of each close code. Part of mingle.js.

import { CLOSE, MingleError, closeReason, closeRule, jitter, toNumbers } from "./mingle-wire.js";

/** Open for this long, a connection counts as good and back-off starts anew. */
const STABLE_MS = 5000;
/** A connection that was greeted and soon lost waits no longer than this step. */
const FLAPPING = 4;
/** What was heard of this lately needs no ping ahead of the next frame. */
const LATELY_MS = 1000;
/** Between the suspicion that a socket is dead and giving it up. */
const SECOND_LOOK_MS = 1000;

// How long a gateway that lives may say nothing at all while a request is
// worked on, in ms. It works on one frame of a socket at a time, so a ping
// answers at once only when nothing is before it; a request takes as long as
// the calls to services that it is made of, ten seconds each at most. A shorter
// bound would dial again and again because a service is slow.
const WORK_MS = new Map([
  // Four calls and five seconds for the room to be followed.
  ["roomJoin", 50_000],
  // Two calls, the second of two seconds.
  ["presenceWatch", 15_000],
]);
/** Of all others, which are one call; with two seconds for the way. */
const CALL_MS = 12_000;

export class Link {
  #options;
  #owner;
  #socket = null;
  #epoch = 0;
  #lastId = 0;
  #helloId = 0;
  #attempt = 0;
  #openedAt = 0;
  #lastSent = 0;
  #lastReceived = 0;
  /** The kinds of what was sent and not answered, in that order, which is that of the answers. */
  #unanswered = [];
  /** Since when the first of them can be answered: last heard, or sent; monotonic. */
  #silentSince = 0;
  #drainAt = 0;
  #notBefore = 0;
  #renew = false;
  #refreshed = false;
  #retryTimer;
  #helloTimer;
  #pingTimer;
  #drainTimer;
  #silenceTimer;
  state = "idle";

  /**
   * `options`: url, webSocket, backoff, connectTimeoutMs, pongTimeoutMs, canRenew.
   * `owner`: hello(renew) -> body (async), refused(error) -> may the hello be
   * said again, welcome(welcome), frame(frame), down(code), state(change).
   */
  constructor(options, owner) {
    this.#options = options;
    this.#owner = owner;
  }

  start() {
    if (this.state !== "idle" && this.state !== "closed") return;
    this.#attempt = 0;
    this.#refreshed = false;
    this.#change("connecting");
    void this.#dial();
  }

  /** Closes for good; `start` opens again. */
  stop(error = null) {
    if (this.state === "closed") return;
    this.#detach(1000);
    clearTimeout(this.#retryTimer);
    this.#epoch += 1;
    this.#change("closed", { error, code: error?.closeCode ?? 1000 });
  }

  /**
   * Connects when waiting to, or asks an open socket for a sign of life: at
   * once, or when the time is over that a refusal told to wait.
   */
  wake() {
    if (this.state === "open") {
      if (this.#unanswered.length === 0) this.#transmit("ping", {});
    } else if (this.state === "reconnecting" && !this.#socket) {
      this.#schedule(Math.max(0, this.#notBefore - Date.now()));
    }
  }

  /** The server goes away: be gone in `delayMs`, closed by it or not. */
  draining(delayMs) {
    this.#drainAt = Date.now() + delayMs;
    clearTimeout(this.#drainTimer);
    this.#drainTimer = setTimeout(() => this.#lost(CLOSE.DRAINING), delayMs);
  }

  /**
   * Sends a frame and answers its id; 0 when there is no greeted socket. A
   * socket that was quiet is asked for a sign of life first: ahead of the
   * request, since behind it the answer would wait for the service.
   */
  send(kind, body) {
    if (this.state !== "open") return 0;
    const isQuiet = this.#unanswered.length === 0 && performance.now() - this.#silentSince >= LATELY_MS;
    if (isQuiet && kind !== "ping") this.#transmit("ping", {});
    return this.#transmit(kind, body);
  }

  #transmit(kind, body) {
    const id = this.#nextId();
    this.#lastSent = Date.now();
    this.#socket.send(JSON.stringify({ id, [kind]: body }));
    this.#unanswered.push(kind);
    if (this.#unanswered.length === 1) {
      this.#silentSince = performance.now();
      this.#look(-1);
    }
    return id;
  }

  #nextId() {
    this.#lastId = (this.#lastId % 0x7fffffff) + 1;
    return this.#lastId;
  }

  async #dial() {
    const epoch = ++this.#epoch;
    const noToken = new MingleError({ code: "DEADLINE_EXCEEDED", reason: "DEADLINE", message: "getToken has not answered" });
    const late = setTimeout(() => this.#helloFailed(epoch, noToken), this.#options.connectTimeoutMs);
    try {
      const hello = await this.#owner.hello(this.#renew);
      if (epoch === this.#epoch) this.#open(hello);
    } catch (error) {
      this.#helloFailed(epoch, error);
    } finally {
      clearTimeout(late);
    }
  }

  #open(hello) {
    this.#renew = false;
    try {
      this.#socket = new this.#options.webSocket(this.#options.url, ["mingle.v1.json"]);
    } catch (error) {
      this.stop(new MingleError({ code: "INVALID_ARGUMENT", reason: "MALFORMED", field: "url", message: String(error) }));
      return;
    }
    this.#helloTimer = setTimeout(() => this.#lost(CLOSE.HELLO_TIMEOUT), this.#options.connectTimeoutMs);
    this.#socket.onopen = () => {
      this.#helloId = this.#nextId();
      this.#socket.send(JSON.stringify({ id: this.#helloId, hello }));
    };
    this.#socket.onmessage = (event) => this.#receive(event.data);
    this.#socket.onerror = () => {}; // a close always follows
    this.#socket.onclose = (event) => this.#lost(event.code);
  }

  #helloFailed(epoch, error) {
    if (epoch !== this.#epoch) return;
    this.#epoch += 1;
    const final = error instanceof MingleError && ["UNAUTHENTICATED", "PERMISSION_DENIED"].includes(error.code);
    if (final) this.stop(error);
    else this.#retry(0, { error });
  }

  #receive(data) {
    this.#lastReceived = Date.now();
    this.#silentSince = performance.now();
    let frame;
    try {
      frame = toNumbers(JSON.parse(data));
    } catch {
      return this.#lost(1002);
    }
    if (this.state === "open") {
      if (frame.id !== undefined && frame.id !== null) this.#unanswered.shift();
      return this.#owner.frame(frame);
    }
    if (frame.welcome) this.#greeted(frame.welcome);
    else if (frame.error && (frame.id === this.#helloId || !frame.id)) this.#refused(new MingleError(frame.error));
    else if (frame.draining) this.draining(frame.draining.retryAfterMs);
  }

  #greeted(welcome) {
    clearTimeout(this.#helloTimer);
    this.#openedAt = this.#lastSent = Date.now();
    this.#refreshed = false;
    this.#drainAt = 0;
    this.#unanswered = [];
    const interval = Math.max(1000, welcome.pingIntervalMs || 25000);
    this.#pingTimer = setInterval(() => this.#keepAlive(interval), interval / 4);
    this.state = "open";
    this.#owner.welcome(welcome);
    this.#change("open");
  }

  // Asks for a sign of life before anybody between gives the connection up.
  #keepAlive(interval) {
    const quiet = Date.now() - Math.min(this.#lastSent, this.#lastReceived);
    if (this.#unanswered.length === 0 && quiet >= interval) this.#transmit("ping", {});
  }

  // Gives the socket up when nothing at all was heard for as long as the first
  // request without an answer may take. `suspected` is the silence of which that
  // was seen before: a page that slept finds its time over before it has read
  // what came meanwhile, so it looks twice.
  #look(suspected) {
    clearTimeout(this.#silenceTimer);
    const [kind] = this.#unanswered;
    if (!kind) return;
    const most = kind === "ping" ? this.#options.pongTimeoutMs : (WORK_MS.get(kind) ?? CALL_MS);
    const left = this.#silentSince + most - performance.now();
    if (left > 0) {
      this.#silenceTimer = setTimeout(() => this.#look(-1), left);
    } else if (suspected === this.#silentSince) {
      this.#lost(1006);
    } else {
      const since = this.#silentSince;
      this.#silenceTimer = setTimeout(() => this.#look(since), SECOND_LOOK_MS);
    }
  }

  // The hello was answered by an error. A close may follow; the error says
  // more, so the socket is left here.
  #refused(error) {
    this.#detach(1000);
    if (this.#owner.refused(error)) this.#retry(0, { atOnce: true });
    else if (error.reason === "TOKEN_EXPIRED") this.#rejected("renew", error);
    else if (error.code === "UNAUTHENTICATED") this.#rejected("refresh", error);
    else if (error.retryable) this.#retry(0, { error });
    else this.stop(error);
  }

  #lost(code) {
    if (!this.#socket) return;
    const opened = this.state === "open";
    this.#detach(1000);
    if (opened) this.#owner.down(code);
    const rule = closeRule(code);
    if (rule === "retry") return this.#retry(code);
    const lacksToken = code === CLOSE.UNAUTHENTICATED || code === CLOSE.TOKEN_EXPIRED;
    this.#rejected(rule, new MingleError({
      code: lacksToken ? "UNAUTHENTICATED" : "FAILED_PRECONDITION",
      reason: closeReason(code),
      closeCode: code,
    }));
  }

  #rejected(rule, error) {
    const again = this.#options.canRenew && (rule === "renew" || (rule === "refresh" && !this.#refreshed));
    if (!again) return this.stop(error);
    if (rule === "refresh") this.#refreshed = true;
    this.#renew = true;
    this.#retry(error.closeCode);
  }

  // `error`: what getToken threw or the server refused with, if that is why.
  #retry(code, { error = null, atOnce = false } = {}) {
    const now = Date.now();
    let attempt = this.#attempt;
    if (this.#openedAt !== 0) attempt = now - this.#openedAt >= STABLE_MS ? 0 : Math.min(attempt, FLAPPING);
    this.#openedAt = 0;
    this.#attempt = attempt + 1;
    const told = error?.retryAfterMs > 0 ? error.retryAfterMs : 0;
    const wait = Math.max(told, jitter(this.#options.backoff, attempt));
    this.#notBefore = now + told;
    // The delay that a draining server told is spread already; it is all there is to wait.
    const due = this.#drainAt === 0 ? wait : Math.max(told, this.#drainAt - now);
    const delay = atOnce ? 0 : due;
    this.#drainAt = 0;
    this.#schedule(delay);
    this.#change("reconnecting", { code, error, retryInMs: delay });
  }

  #schedule(delay) {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#dial(), delay);
  }

  #detach(code) {
    clearTimeout(this.#helloTimer);
    clearInterval(this.#pingTimer);
    clearTimeout(this.#drainTimer);
    clearTimeout(this.#silenceTimer);
    this.#unanswered = [];
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code);
  }

  #change(state, detail = {}) {
    this.state = state;
    this.#owner.state({ state, code: 0, retryInMs: 0, error: null, ...detail });
  }
}
