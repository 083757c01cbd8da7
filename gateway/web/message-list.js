// The messages of one room in the order of their seq; those without one, not
// yet answered, are last.

import { element, toggle } from "./dom.js";
import { MessageItem } from "./message-item.js";

/** More than this many lines and the oldest leave the page; scrolling up loads them again. */
const LINES = 500;
const NEAR_PX = 80;

/** One watcher of its size per scroller, whichever room is in it. */
const watchers = new WeakMap();

export class MessageList {
  #scroller;
  #options;
  #lines = [];
  #list = element("ol", { class: "messages" });
  #older;
  #readSeq = 0;
  #hasMore = false;
  #loading = false;
  #stuck = true;
  #frozen = false;

  /**
   * `options`: self (a user id), actions (see MessageItem) or null, older()
   * which loads earlier messages, jump (a button) or null, seen() when the
   * newest messages came into view.
   */
  constructor(scroller, options) {
    this.#scroller = scroller;
    this.#options = options;
    this.#older = element("button", { type: "button", class: "quiet older", data: { testid: "load-older" }, hidden: true }, "Earlier messages");
    this.#older.addEventListener("click", () => void this.#loadOlder());
    scroller.replaceChildren(this.#older, this.#list);
    scroller.onscroll = () => {
      if (scroller.scrollTop < NEAR_PX) void this.#loadOlder();
      this.#stuck = this.atEnd;
      if (!this.#stuck) return;
      this.#showJump(false);
      options.seen?.();
    };
    if (options.jump) options.jump.onclick = () => this.toEnd();
    this.#showJump(false);
    // A banner or a phone's keyboard must not push the newest words out of sight.
    watchers.get(scroller)?.disconnect();
    const watcher = new ResizeObserver(() => this.#stuck && this.toEnd());
    watcher.observe(scroller);
    watchers.set(scroller, watcher);
  }

  /** The seq of the oldest message shown, or 0. */
  get oldestSeq() {
    return this.#messages()[0]?.entry.seq ?? 0;
  }

  /** The newest seq that someone else wrote, or 0. */
  get newestForeignSeq() {
    return this.#messages().findLast((line) => !line.entry.mine)?.entry.seq ?? 0;
  }

  /** Own messages without an answer: `[{clientMsgId, body}]`. */
  get unanswered() {
    return this.#lines.filter((line) => line.entry.mine && line.entry.seq === Infinity).map(({ entry }) => ({ clientMsgId: entry.clientMsgId, body: entry.body }));
  }

  /** The last own message, perhaps on its way yet. */
  get lastOwn() {
    return this.#lines.findLast(({ entry }) => entry.mine && !entry.deleted);
  }

  /** Nothing can be edited or deleted from here on. */
  freeze() {
    this.#frozen = true;
    for (const line of this.#lines) if (!line.entry.system) line.freeze();
  }

  /** Adds or updates messages as the server tells them. */
  put(messages) {
    const follow = this.atEnd;
    for (const message of messages) this.#put(message);
    this.#settle(follow, messages.some((message) => message.senderId === this.#options.self));
  }

  /** Adds messages that came before those shown, keeping the view in place. */
  putOlder(messages, hasMore) {
    const { scrollHeight, scrollTop } = this.#scroller;
    this.#scroller.setAttribute("aria-live", "off");
    for (const message of messages) this.#put(message);
    this.setMore(hasMore);
    this.#scroller.scrollTop = scrollTop + this.#scroller.scrollHeight - scrollHeight;
    requestAnimationFrame(() => this.#scroller.removeAttribute("aria-live"));
  }

  setMore(hasMore) {
    this.#hasMore = hasMore;
    toggle(this.#older, hasMore);
  }

  /** Adds an own message that is on its way. */
  addPending(clientMsgId, body) {
    const found = this.#own(clientMsgId);
    if (found) {
      found.update({ state: "sending", problem: "" });
    } else {
      this.#insert(this.#item({ seq: Infinity, messageId: "", clientMsgId, senderId: this.#options.self, body, sentAt: "", state: "sending" }));
    }
    this.toEnd();
  }

  sent(clientMsgId, { messageId, seq, sentAt }) {
    const line = this.#own(clientMsgId);
    if (line) this.#place(line, { messageId, seq, sentAt, state: "sent", problem: "" });
  }

  /** It waits for its limit, or no longer does. */
  held(clientMsgId, is) {
    const line = this.#own(clientMsgId);
    if (line && ["sending", "held"].includes(line.entry.state)) line.update({ state: is ? "held" : "sending" });
  }

  failed(clientMsgId, problem) {
    this.#own(clientMsgId)?.update({ state: "failed", problem });
  }

  discard(clientMsgId) {
    const line = this.#own(clientMsgId);
    if (line) this.#drop(line);
  }

  edited({ messageId, body }) {
    this.#find(messageId)?.update({ body, edited: true });
  }

  deleted({ messageId }) {
    this.#find(messageId)?.update({ body: "", deleted: true });
  }

  /** The other has read up to `seq`. */
  readUpTo(seq) {
    this.#readSeq = Math.max(this.#readSeq, seq);
    for (const line of this.#messages()) if (line.entry.state === "sent" && line.entry.seq <= this.#readSeq) line.update({ state: "read" });
  }

  /** Adds a line that nobody wrote, after the event `seq` or at the end. */
  system(text, seq = 0) {
    const follow = this.atEnd;
    const node = element("li", { class: "system", data: { testid: "system-line" } }, text);
    this.#insert({ node, entry: { seq: seq || (this.#messages().at(-1)?.entry.seq ?? 0), system: true } });
    this.#settle(follow, false);
  }

  toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#stuck = true;
    this.#showJump(false);
  }

  #messages() {
    return this.#lines.filter(({ entry }) => !entry.system && entry.seq !== Infinity);
  }

  #find(messageId) {
    return this.#lines.find(({ entry }) => entry.messageId === messageId);
  }

  #own(clientMsgId) {
    return this.#lines.find(({ entry }) => entry.mine && entry.clientMsgId === clientMsgId);
  }

  #item(entry) {
    const { self, actions } = this.#options;
    const made = new MessageItem({ deleted: false, edited: false, problem: "", ...entry, mine: entry.senderId === self }, actions);
    if (this.#frozen) made.freeze();
    return made;
  }

  #put(message) {
    const { seq, messageId, clientMsgId, senderId, body, sentAt, deleted, editedAt } = message;
    const mine = senderId === this.#options.self;
    const change = { seq, messageId, clientMsgId, senderId, body, sentAt, deleted, edited: Boolean(editedAt), state: this.#stateOf(mine, seq) };
    const known = this.#find(messageId) ?? (mine ? this.#own(clientMsgId) : undefined);
    if (known) this.#place(known, { ...change, problem: "" });
    else this.#insert(this.#item(change));
  }

  #stateOf(mine, seq) {
    if (!mine) return "received";
    return seq <= this.#readSeq ? "read" : "sent";
  }

  #place(line, change) {
    const moved = change.seq !== line.entry.seq;
    line.update({ ...change, state: this.#stateOf(line.entry.mine, change.seq) });
    if (!moved) return;
    const at = this.#lines.indexOf(line);
    const next = this.#lines[at + 1];
    const inOrder = (this.#lines[at - 1]?.entry.seq ?? 0) <= change.seq && (!next || change.seq < next.entry.seq);
    if (inOrder) return;
    this.#lines.splice(at, 1);
    this.#insert(line);
  }

  #insert(line) {
    let at = this.#lines.length;
    while (at > 0 && this.#lines[at - 1].entry.seq > line.entry.seq) at -= 1;
    this.#list.insertBefore(line.node, this.#lines[at]?.node ?? null);
    this.#lines.splice(at, 0, line);
  }

  #drop(line) {
    this.#lines.splice(this.#lines.indexOf(line), 1);
    line.node.remove();
  }

  #settle(follow, own) {
    if (!follow && !own) return this.#showJump(true);
    while (this.#lines.length > LINES) {
      this.#drop(this.#lines[0]);
      this.setMore(true);
    }
    this.toEnd();
  }

  /** True when the newest messages are in view. */
  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }

  #showJump(shown) {
    if (this.#options.jump) toggle(this.#options.jump, shown);
  }

  async #loadOlder() {
    if (!this.#hasMore || this.#loading) return;
    this.#loading = true;
    this.#older.textContent = "Loading…";
    await this.#options.older().catch(() => {});
    this.#older.textContent = "Earlier messages";
    this.#loading = false;
  }
}
