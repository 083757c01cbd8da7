// One lasting connection over many sockets: dialling, hello, keep-alive,
// back-off and the retry rule of each close code. Part of mingle.js.

import { CLOSE, MingleError, closeReason, closeRule, jitter, toNumbers } from "./mingle-wire.js";

/** Open for this long, a connection counts as good and back-off starts anew. */
const STABLE_MS = 5000;
/** A connection that was greeted and soon lost waits no longer than this step. */
const FLAPPING = 4;

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
  #pingedAt = 0;
  #drainAt = 0;
  #notBefore = 0;
  #renew = false;
  #refreshed = false;
  #retryTimer;
  #helloTimer;
  #pingTimer;
  #drainTimer;
  state = "idle";

  /**
   * `options`: url, webSocket, backoff, connectTimeoutMs, canRenew.
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
      if (this.#pingedAt === 0) this.#ping();
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

  /** A number for the next frame. */
  nextId() {
    this.#lastId = (this.#lastId % 0x7fffffff) + 1;
    return this.#lastId;
  }

  /** Sends an encoded frame; false when there is no greeted socket. */
  send(text) {
    if (this.state !== "open") return false;
    this.#lastSent = Date.now();
    this.#socket.send(text);
    return true;
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
      this.#helloId = this.nextId();
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
    this.#pingedAt = 0;
    let frame;
    try {
      frame = toNumbers(JSON.parse(data));
    } catch {
      return this.#lost(1002);
    }
    if (this.state === "open") return this.#owner.frame(frame);
    if (frame.welcome) this.#greeted(frame.welcome);
    else if (frame.error && (frame.id === this.#helloId || !frame.id)) this.#refused(new MingleError(frame.error));
    else if (frame.draining) this.draining(frame.draining.retryAfterMs);
  }

  #greeted(welcome) {
    clearTimeout(this.#helloTimer);
    this.#openedAt = this.#lastSent = Date.now();
    this.#refreshed = false;
    this.#drainAt = 0;
    const interval = Math.max(1000, welcome.pingIntervalMs || 25000);
    this.#pingTimer = setInterval(() => this.#keepAlive(interval), interval / 4);
    this.state = "open";
    this.#owner.welcome(welcome);
    this.#change("open");
  }

  // A ping that stays unanswered for 1.5 intervals ends a socket; with the
  // interval of silence before it that makes 2.5. Counting from the ping
  // keeps a tab whose timers slept from giving up a good connection.
  #keepAlive(interval) {
    const now = Date.now();
    if (this.#pingedAt !== 0) {
      if (now - this.#pingedAt >= 1.5 * interval) this.#lost(1006);
    } else if (now - Math.min(this.#lastSent, this.#lastReceived) >= interval) {
      this.#ping();
    }
  }

  #ping() {
    this.#pingedAt = Date.now();
    this.send(JSON.stringify({ id: this.nextId(), ping: {} }));
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
    this.#pingedAt = 0;
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
