// The conversation that goes on now: what is said, who is there, what was
// read.

import { announce, byId, countDown, paintAvatar, shortTime, soon, toggle } from "./dom.js";
import { newId } from "./mingle.js";
import { MessageList } from "./message-list.js";
import { outbox, partnerRead, partners } from "./session.js";

const PAGE = 50;
const TYPING_SHOWN_MS = 5000;
const ASK_AGAIN_MS = 2000;
const PRESENCE = { ONLINE: "online", AWAY: "away", BUSY: "busy", OFFLINE: "offline", UNKNOWN: "not known right now" };

export class Conversation {
  #client;
  #self;
  #composer;
  #roomId;
  #partner = "";
  #list;
  #offs = [];
  #ended = false;
  #readSeq = 0;
  #typingTimer;
  #unseen = 0;
  #live = true;
  #lastKnown = "";
  #endHold = () => {};
  #gone;

  /** `gone(text)` is called when the room cannot be shown at all. */
  constructor(client, composer, { self, roomId, partner, gone }) {
    this.#client = client;
    this.#composer = composer;
    this.#roomId = roomId;
    this.#self = self;
    this.#gone = gone;
    this.#list = new MessageList(byId("messages"), {
      self,
      jump: byId("jump"),
      older: () => this.#loadOlder(),
      seen: () => this.#markRead(),
      actions: {
        edit: (entry, body) => client.edit(roomId, entry.messageId, body),
        remove: (entry) => client.delete(roomId, entry.messageId),
        retry: (entry) => this.#send(entry.clientMsgId, entry.body),
        discard: (entry) => this.#discard(entry.clientMsgId),
      },
    });
    toggle(byId("ended"), false);
    for (const id of ["typing", "limited"]) toggle(byId(id), false);
    byId("next").textContent = "Next";
    byId("leave").textContent = "Leave";
    this.#name(partner);
    this.#presence({ status: "UNKNOWN" });
    this.#listen();
    composer.open({
      send: (body) => this.#send(newId(), body),
      typing: () => client.typing(roomId),
      editLast: () => this.#list.lastOwn?.edit(),
    });
  }

  get roomId() {
    return this.#roomId;
  }

  get ended() {
    return this.#ended;
  }

  /** Joins the room and shows what was said. `fresh`: just matched. */
  async open(fresh) {
    if (fresh) this.#list.system(`You are talking with ${this.#partner || "someone new"} now. Say hello.`);
    // What a page before this one left unanswered goes first, before anything new is written.
    for (const { clientMsgId, body } of outbox.read(this.#roomId)) void this.#send(clientMsgId, body);
    try {
      await this.#joined(await this.#insist(() => this.#client.roomJoin(this.#roomId)));
    } catch (error) {
      if (error.reason === "ROOM_CLOSED") await this.#readOnly();
      else if (this.#live && error.reason !== "CLIENT_CLOSED") this.#gone("That conversation is no longer there.");
    }
  }

  /** The view is on the screen again. */
  shown() {
    this.#list.toEnd();
    this.#markRead();
  }

  /** Leaves the page; the membership is another matter. */
  close() {
    this.#live = false;
    for (const off of this.#offs) off();
    clearTimeout(this.#typingTimer);
    this.#endHold();
    this.#composer.close();
    this.#title(0);
  }

  async #joined(room) {
    const other = room.members.find((user) => user !== this.#self);
    if (other) this.#name(other);
    if (room.closed) return this.#readOnly(room.members);
    void this.#watch();
    await this.#load();
  }

  // Asks until there is an answer, as long as the conversation is on the page.
  async #insist(ask) {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!error.retryable || !this.#live) throw error;
        await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs || ASK_AGAIN_MS));
      }
    }
  }

  async #readOnly(members = []) {
    const left = this.#partner && members.includes(this.#self) && !members.includes(this.#partner);
    this.#end(left ? `${this.#partner} left the conversation.` : "This conversation has ended.");
    await this.#load();
  }

  async #watch() {
    if (!this.#partner) return;
    const presences = await this.#client.presenceWatch([this.#partner]).catch(() => []);
    for (const presence of presences) this.#presence(presence);
  }

  async #load() {
    const page = await this.#insist(() => this.#client.history(this.#roomId, { limit: PAGE }));
    if (!this.#live) return;
    this.#list.readUpTo(partnerRead.read(this.#roomId));
    this.#list.put(page.messages);
    this.#list.setMore(page.hasMore);
    this.#list.toEnd();
    if (!this.#partner) this.#name(page.messages.find(({ senderId }) => senderId !== this.#self)?.senderId ?? "");
    this.#markRead();
  }

  async #loadOlder() {
    const page = await this.#client.history(this.#roomId, { before: this.#list.oldestSeq, limit: PAGE });
    if (this.#live) this.#list.putOlder(page.messages, page.hasMore);
  }

  #listen() {
    const on = (name, act) => this.#offs.push(this.#client.on(name, (event) => event.roomId === this.#roomId && act(event)));
    on("message", (message) => this.#message(message));
    on("edited", (event) => this.#list.edited(event));
    on("deleted", (event) => this.#list.deleted(event));
    on("read", ({ userId, seq }) => userId !== this.#self && this.#partnerRead(seq));
    on("typing", ({ userId }) => userId !== this.#self && this.#typing(true));
    on("member", (event) => this.#member(event));
    on("roomClosed", (event) => this.#closed(event));
    on("reset", ({ room }) => (room ? void this.#joined(room).catch(() => {}) : this.#end("This conversation is no longer there.")));
    this.#offs.push(this.#client.on("presence", (presence) => presence.userId === this.#partner && this.#presence(presence)));
    on("limited", ({ kind, clientMsgId, retryInMs }) => kind === "send" && this.#hold(clientMsgId, retryInMs));
    this.#offs.push(this.#client.on("state", ({ state }) => state !== "open" && this.#away()));
    const seen = () => this.#markRead();
    for (const [target, name] of [[document, "visibilitychange"], [window, "focus"]]) {
      target.addEventListener(name, seen);
      this.#offs.push(() => target.removeEventListener(name, seen));
    }
  }

  #message(message) {
    this.#list.put([message]);
    this.#keepOutbox();
    if (message.senderId === this.#self) return;
    this.#typing(false);
    if (document.hidden) this.#title(this.#unseen + 1);
    this.#markRead();
  }

  async #send(clientMsgId, body) {
    this.#list.addPending(clientMsgId, body);
    this.#keepOutbox();
    try {
      this.#list.sent(clientMsgId, await this.#client.send(this.#roomId, body, { clientMsgId }));
    } catch (error) {
      // Closing the client is no answer: the message stays for the next one.
      if (error.reason === "CLIENT_CLOSED") return;
      this.#list.failed(clientMsgId, problemOf(error));
    }
    if (this.#live) this.#keepOutbox();
  }

  // The server takes no more for a while. What is written is kept and goes out
  // then; said once aloud, and counted down for the eye.
  #hold(clientMsgId, ms) {
    this.#endHold();
    const words = (when) => `You have written a lot at once. What you write is kept and sent ${when}.`;
    this.#list.held(clientMsgId, true);
    announce(words(soon(ms)));
    toggle(byId("limited"), true);
    let stop = () => {};
    this.#endHold = () => {
      stop();
      this.#endHold = () => {};
      this.#list.held(clientMsgId, false);
      toggle(byId("limited"), false);
    };
    stop = countDown(ms, (when) => (byId("limited").textContent = words(when)), () => this.#endHold());
  }

  // There is no connection: nobody's presence is known, and what was held goes
  // out with the next one.
  #away() {
    this.#endHold();
    this.#presence({ status: "UNKNOWN" });
  }

  #discard(clientMsgId) {
    this.#list.discard(clientMsgId);
    this.#keepOutbox();
    this.#composer.focus();
  }

  #keepOutbox() {
    outbox.write(this.#roomId, this.#list.unanswered);
  }

  #partnerRead(seq) {
    this.#list.readUpTo(seq);
    partnerRead.write(this.#roomId, seq);
  }

  // Read is what was on a screen that someone can see.
  #markRead() {
    if (document.hidden || byId("view-conversation").hidden || !this.#list.atEnd) return;
    this.#title(0);
    const seq = this.#list.newestForeignSeq;
    if (seq <= this.#readSeq || this.#ended) return;
    this.#readSeq = seq;
    this.#client.read(this.#roomId, seq).catch(() => {
      this.#readSeq = 0; // said again with the next message or look
    });
  }

  #member({ userId, joined, seq }) {
    if (userId === this.#self) {
      if (!joined) this.#end("You left this conversation in another window.", seq);
    } else if (!joined) {
      this.#end(`${userId} left the conversation.`, seq);
    } else if (!this.#partner) {
      this.#name(userId);
      void this.#watch();
    }
  }

  #closed({ reason, closerId, seq }) {
    if (reason === "idle") this.#end("The conversation was closed: nobody said anything for a long time.", seq);
    else if (closerId && closerId !== this.#self) this.#end(`${closerId} left the conversation.`, seq);
    else this.#end("This conversation has ended.", seq);
  }

  #end(text, seq = 0) {
    if (this.#ended) return;
    this.#ended = true;
    this.#endHold();
    const writing = document.activeElement === byId("composer");
    this.#typing(false);
    this.#list.system(text, seq);
    this.#list.freeze();
    this.#composer.close();
    byId("ended").textContent = "You can still read what was said.";
    toggle(byId("ended"), true);
    byId("next").textContent = "Find someone new";
    byId("leave").textContent = "Close";
    byId("partner-presence").textContent = "not in this conversation any more";
    byId("partner-presence").dataset.status = "OFFLINE";
    if (writing) byId("next").focus();
  }

  #presence({ status, lastSeen }) {
    if (this.#ended) return;
    const word = PRESENCE[status] ?? PRESENCE.UNKNOWN;
    if (word !== PRESENCE.UNKNOWN) this.#lastKnown = word;
    let more = status === "OFFLINE" && lastSeen ? `, last seen ${shortTime(lastSeen)}` : "";
    if (word === PRESENCE.UNKNOWN && this.#lastKnown) more = `, ${this.#lastKnown} when last known`;
    byId("partner-presence").textContent = `${word}${more}`;
    byId("partner-presence").dataset.status = status;
  }

  #typing(is) {
    clearTimeout(this.#typingTimer);
    if (is === byId("typing").hidden) {
      byId("typing").textContent = is ? `${this.#partner || "They"} is typing…` : "";
      toggle(byId("typing"), is);
    }
    if (is) this.#typingTimer = setTimeout(() => this.#typing(false), TYPING_SHOWN_MS);
  }

  #name(partner) {
    if (partner && partner !== this.#partner) partners.write(this.#roomId, partner);
    this.#partner = partner || this.#partner;
    byId("partner-name").textContent = this.#partner || "Someone";
    paintAvatar(byId("partner-avatar"), this.#partner || "?");
  }

  #title(unseen) {
    this.#unseen = unseen;
    document.title = unseen > 0 ? `(${unseen}) Mingle` : "Mingle";
    if (unseen === 1) announce("New message");
  }
}

function problemOf(error) {
  if (error.reason === "ROOM_CLOSED") return "The conversation has ended.";
  if (error.reason === "BACKLOG_FULL") return "Too many messages wait for the connection already.";
  return error.message;
}
