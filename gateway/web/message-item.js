// One message on the page: its bubble, its state, and what its author can do.

import { byId, element, fullTime, shortTime, unseen } from "./dom.js";

const STATES = {
  sending: ["○", "Sending"],
  held: ["◷", "Waits to be sent"],
  sent: ["✓", "Sent"],
  read: ["✓✓", "Read"],
  failed: ["!", "Not sent"],
  received: ["", ""],
};

export class MessageItem {
  #actions;
  #editor = null;
  #frozen = false;

  /**
   * `entry`: seq (Infinity until known), messageId, clientMsgId, senderId,
   * mine, body, deleted, edited, sentAt, state, problem. `actions`, or null
   * where nothing can be done: edit, remove, retry, discard.
   */
  constructor(entry, actions) {
    this.entry = entry;
    this.#actions = actions;
    this.body = element("p", { class: "body", dir: "auto", data: { testid: "message-body" } });
    this.meta = element("p", { class: "meta" });
    this.tools = element("div", { class: "tools" });
    this.bubble = element("div", { class: "bubble" }, unseen(entry.mine ? "You: " : `${entry.senderId}: `), this.body);
    this.node = element("li", { class: entry.mine ? "message mine" : "message", data: { testid: "message", mine: String(entry.mine) } }, element("div", { class: "line" }, this.bubble, this.tools), this.meta);
    this.bubble.addEventListener("click", () => this.node.classList.toggle("picked"));
    this.update();
  }

  /** Takes what changed and shows it. */
  update(change = {}) {
    Object.assign(this.entry, change);
    const { body, deleted, state, messageId } = this.entry;
    this.body.textContent = deleted ? "Message deleted" : body;
    this.node.dataset.state = state;
    this.node.dataset.deleted = String(deleted);
    if (messageId) this.node.dataset.messageId = messageId;
    if (deleted) this.#endEdit();
    this.#showMeta();
    this.#showTools();
  }

  /** The room is closed: what was said stays as it is. */
  freeze() {
    this.#frozen = true;
    this.#endEdit();
    this.#showTools();
  }

  /** Opens the editor in place of the text. */
  edit() {
    if (this.#editor || this.#frozen || this.entry.deleted || !this.entry.messageId || !this.#actions) return;
    const input = element("textarea", { class: "edit-input", value: this.entry.body, rows: 2, data: { testid: "edit-input" }, aria: { label: "Edit message" } });
    const problem = element("p", { class: "error", role: "alert" });
    const save = element("button", { type: "button", class: "primary", data: { testid: "edit-save" } }, "Save");
    const cancel = element("button", { type: "button", class: "quiet", data: { testid: "edit-cancel" } }, "Cancel");
    this.#editor = element("div", { class: "editor" }, input, element("div", { class: "row" }, save, cancel), problem);
    const submit = () => void this.#saveEdit(input, save, problem);
    save.addEventListener("click", submit);
    cancel.addEventListener("click", () => this.#endEdit(true));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#endEdit(true);
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.body.hidden = true;
    this.bubble.append(this.#editor);
    this.node.classList.add("editing");
    input.focus();
    input.setSelectionRange(input.value.length, input.value.length);
  }

  async #saveEdit(input, save, problem) {
    const body = input.value.trim();
    if (body === "" || body === this.entry.body) return this.#endEdit(true);
    save.disabled = true;
    try {
      await this.#actions.edit(this.entry, body);
      this.#endEdit(true);
    } catch (error) {
      problem.textContent = `Not changed: ${error.message}`;
      save.disabled = false;
      input.focus();
    }
  }

  #endEdit(refocus = false) {
    if (!this.#editor) return;
    this.#editor.remove();
    this.#editor = null;
    this.body.hidden = false;
    this.node.classList.remove("editing");
    if (refocus) byId("composer").focus();
  }

  #showMeta() {
    const { sentAt, edited, deleted, mine, state, problem } = this.entry;
    const [sign, word] = STATES[state];
    const time = sentAt ? element("time", { dateTime: sentAt, title: fullTime(sentAt) }, shortTime(sentAt)) : null;
    const mark = mine && !deleted ? element("span", { class: "mark", title: word }, element("span", { aria: { hidden: "true" } }, sign), unseen(word)) : null;
    const parts = [time, edited && !deleted ? element("span", {}, "edited") : null, mark, problem ? element("span", { class: "problem" }, problem) : null];
    this.meta.replaceChildren(...parts.filter(Boolean));
  }

  #showTools() {
    const { mine, deleted, state, messageId } = this.entry;
    const wanted = !this.#actions || !mine || deleted ? "" : state === "failed" ? "failed" : messageId && !this.#frozen ? "own" : "";
    if (this.tools.dataset.kind === wanted) return;
    this.tools.dataset.kind = wanted;
    const { retry, discard, remove } = this.#actions ?? {};
    const sets = {
      "": [],
      failed: [tool("Retry", "message-retry", () => retry(this.entry)), tool("Discard", "message-discard", () => discard(this.entry))],
      own: [tool("Edit", "message-edit", () => this.edit()), tool("Delete", "message-delete", () => this.#remove(remove))],
    };
    this.tools.replaceChildren(...sets[wanted]);
  }

  async #remove(remove) {
    byId("composer").focus(); // the button is about to go
    try {
      await remove(this.entry);
    } catch (error) {
      this.update({ problem: `Not deleted: ${error.message}` });
    }
  }
}

function tool(label, testid, act) {
  const made = element("button", { type: "button", class: "tool", data: { testid } }, label, unseen(" message"));
  made.addEventListener("click", act);
  return made;
}
