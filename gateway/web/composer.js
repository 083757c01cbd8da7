// Where messages are written.

import { byId, toggle } from "./dom.js";

const TYPING_EVERY_MS = 3000;
const BODY_BYTES = 8192;
const encoder = new TextEncoder();

export class Composer {
  #input = byId("composer");
  #error = byId("composer-error");
  #handlers = null;
  #typedAt = 0;

  constructor() {
    byId("composer-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener("keydown", (event) => this.#key(event));
    this.#input.addEventListener("input", () => this.#typed());
  }

  /** `handlers`: send(body), typing(), editLast(). */
  open(handlers) {
    this.#handlers = handlers;
    this.#error.textContent = "";
    toggle(byId("composer-form"), true);
  }

  close() {
    this.#handlers = null;
    this.#input.value = "";
    this.#grow();
    toggle(byId("composer-form"), false);
  }

  focus() {
    this.#input.focus({ preventScroll: true });
  }

  #key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" && this.#input.value === "") {
      event.preventDefault();
      this.#handlers?.editLast();
    }
  }

  #typed() {
    this.#grow();
    const bytes = encoder.encode(this.#input.value).length;
    this.#error.textContent = bytes > BODY_BYTES ? `Too long by ${bytes - BODY_BYTES} bytes; a message holds 8 KiB.` : "";
    if (this.#input.value.trim() === "" || Date.now() - this.#typedAt < TYPING_EVERY_MS) return;
    this.#typedAt = Date.now();
    this.#handlers?.typing();
  }

  #submit() {
    // A lone surrogate is no text; the server would refuse the message.
    const body = this.#input.value.trim().replace(/\p{Surrogate}/gu, "\ufffd");
    if (body === "" || !this.#handlers || encoder.encode(body).length > BODY_BYTES) return;
    this.#input.value = "";
    this.#typedAt = 0;
    this.#grow();
    this.#handlers.send(body);
    this.focus();
  }

  #grow() {
    this.#input.style.height = "auto";
    this.#input.style.height = this.#input.value ? `${Math.min(this.#input.scrollHeight + 2, 160)}px` : "";
  }
}
