// The first view: who you are and whom you look for.

import { byId, toggle } from "./dom.js";
import { profile, randomName } from "./session.js";

export class Start {
  #form = byId("start-form");
  #error = byId("start-error");
  #find = byId("find");

  /** `find(profile, token)` is called when the form is sent and good. */
  constructor(find) {
    const { userId, gender, wants } = profile.read();
    byId("user-id").value = userId;
    this.#radio(gender).checked = true;
    for (const box of this.#boxes()) box.checked = wants.length === 0 ? box.value === "any" : wants.includes(box.value);
    profile.write({ userId, gender, wants });

    byId("shuffle").addEventListener("click", () => {
      byId("user-id").value = randomName();
      byId("user-id").focus();
    });
    this.#form.addEventListener("change", (event) => {
      if (event.target.name === "want") this.#settleWants(event.target);
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const chosen = this.read();
      if (chosen) find(chosen);
    });
  }

  /** The profile as it stands in the form, kept; null (and told) when it is not good. */
  read() {
    const userId = byId("user-id").value.trim();
    this.fail("");
    if (userId === "" && !byId("name-row").hidden) {
      this.fail("Please choose a name.");
      byId("user-id").focus();
      return null;
    }
    if (this.needsToken && this.token === "") {
      this.fail("Please paste your access token.");
      byId("token").focus();
      return null;
    }
    const gender = this.#form.elements.gender.value;
    const wants = this.#boxes().filter((box) => box.checked && box.value !== "any").map((box) => box.value);
    const chosen = { userId, gender, wants };
    profile.write(chosen);
    return chosen;
  }

  /** Shows the name that the server knows the user by. */
  rename(userId) {
    byId("user-id").value = userId;
    profile.write({ ...profile.read(), userId });
  }

  get needsToken() {
    return !byId("token-row").hidden;
  }

  get token() {
    return byId("token").value.trim();
  }

  /** Asks for a token instead of a name. */
  askToken() {
    toggle(byId("token-row"), true);
    toggle(byId("name-row"), false);
    byId("token").focus();
  }

  fail(text) {
    this.#error.textContent = text;
  }

  busy(is) {
    this.#find.disabled = is;
    this.#find.textContent = is ? "One moment…" : "Find someone";
  }

  // "Anyone" and a choice exclude each other; no choice is anyone.
  #settleWants(changed) {
    const [any, ...values] = this.#boxes();
    if (changed === any && any.checked) for (const box of values) box.checked = false;
    any.checked = !values.some((box) => box.checked);
  }

  #boxes() {
    return [...this.#form.elements.want];
  }

  #radio(value) {
    return [...this.#form.elements.gender].find((radio) => radio.value === value) ?? this.#form.elements.gender[2];
  }
}
