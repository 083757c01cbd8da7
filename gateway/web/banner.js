// The line that says when something is wrong with the connection, and the
// small word in the header that says it is well.

import { affected } from "./affected.js";
import { announce, byId, countDown, soon, toggle } from "./dom.js";
import { CLOSE } from "./mingle.js";

/** A reconnect that is quicker than this is not worth a word. */
const PATIENCE_MS = 300;
/** What is tried again sooner than this is not counted down. */
const TRIED_AT_ONCE_MS = 1500;

const WORDS = { idle: "", connecting: "Connecting", open: "Connected", reconnecting: "Reconnecting", closed: "Not connected" };
const ENDED = new Map([
  [CLOSE.ORIGIN_NOT_ALLOWED, "This page may not connect to the server from its address."],
  [CLOSE.TOO_MANY_CONNECTIONS, "You have too many open connections. Close another tab and try again."],
  [CLOSE.PROTOCOL_ERROR, "This page and the server do not understand each other. Reload the page to get its newest version."],
]);

export class Banner {
  #actions;
  /** What people notice of what is degraded. */
  #affected = "";
  #draining = false;
  #shown = "";
  #timer;
  #stopCount = () => {};
  #click = null;

  /** `actions`: retry(), takeOver(), signIn(). */
  constructor(actions) {
    this.#actions = actions;
    byId("banner-action").addEventListener("click", () => this.#click?.());
  }

  /** Shows what the client tells. */
  watch(client) {
    client.on("state", (change) => this.state(change));
    client.on("degraded", (event) => {
      this.#affected = affected(event);
      if (client.state === "open") this.#calm();
    });
    client.on("draining", () => {
      this.#draining = true;
      this.#calm();
    });
  }

  state({ state, error, retryInMs }) {
    const word = byId("connection");
    word.dataset.state = state;
    word.textContent = WORDS[state];
    clearTimeout(this.#timer);
    if (state === "open") {
      this.#draining = false;
      this.#calm();
    } else if (state === "reconnecting") {
      const due = Date.now() + retryInMs;
      const tell = () => (refusal(error) ? this.#refused(error, due - Date.now()) : this.#lost());
      this.#timer = setTimeout(tell, this.#shown ? 0 : PATIENCE_MS);
    } else if (state === "closed" && error?.reason !== "CLIENT_CLOSED") {
      this.#ended(error);
    } else if (state === "closed" || state === "idle") {
      this.#affected = "";
      this.#show("", "");
    }
  }

  // Who was told when to come back cannot try before then.
  #refused(error, ms) {
    const words = (when) => `${refusal(error)} ${when}.${kept()}`;
    const button = error.retryAfterMs > 0 ? [] : ["Try now", this.#actions.retry];
    this.#show("limited", words(ms < TRIED_AT_ONCE_MS ? "in a moment" : soon(ms)), ...button);
    if (ms < TRIED_AT_ONCE_MS) return;
    this.#stopCount = countDown(ms, (when) => (byId("banner-text").textContent = words(when)));
  }

  #lost() {
    const why = this.#draining ? "The server is restarting." : "The connection was lost.";
    this.#show("reconnecting", `${why} Reconnecting…${kept()}`, "Try now", this.#actions.retry);
  }

  #ended(error) {
    if (error.closeCode === CLOSE.SUPERSEDED) {
      this.#show("superseded", "This session was taken over by another window.", "Use it here", this.#actions.takeOver);
    } else if (error.code === "UNAUTHENTICATED") {
      this.#show("signed-out", "Your access has ended or is not accepted.", "Sign in again", this.#actions.signIn);
    } else {
      this.#show("closed", ENDED.get(error.closeCode) ?? `The server refused the connection: ${error.message}`, "Try again", this.#actions.takeOver);
    }
  }

  // Connected: all that is left to tell is what goes less well than usual.
  #calm() {
    if (this.#draining) {
      this.#show("draining", "The server is restarting. You will be connected again in a moment.");
    } else if (this.#affected) {
      this.#show("degraded", this.#affected);
    } else {
      this.#show("", "");
    }
  }

  #show(kind, text, label = "", click = null) {
    this.#stopCount();
    this.#click = click;
    byId("banner").dataset.kind = kind;
    byId("banner-text").textContent = text;
    byId("banner-action").textContent = label;
    toggle(byId("banner-action"), label !== "");
    toggle(byId("banner"), kind !== "");
    if (kind !== this.#shown) announce(text || "Connected again");
    this.#shown = kind;
  }
}

const kept = () => (document.body.dataset.view === "conversation" ? " What you write is kept and sent then." : "");

/** Why the server, which was reached, let nobody in; "" when it was not reached. */
function refusal(error) {
  if (!error?.code) return "";
  if (error.reason === "RATE_LIMITED") return "Too many people sign in from your network. You will be connected again";
  if (error.reason === "OVERLOADED") return "Too many people connect at the moment. You will be connected again";
  if (error.code === "UNAVAILABLE") return error.retryAfterMs > 0 ? "Nobody can sign in at the moment. It is tried again" : "";
  return error.code === "DEADLINE_EXCEEDED" ? "" : `You could not be signed in: ${error.message}. It is tried again`;
}
