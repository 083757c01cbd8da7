// Earlier conversations: the list beside the page, and reading one of them.

import { byId, element, fullTime, paintAvatar, shortTime, toggle } from "./dom.js";
import { MessageList } from "./message-list.js";
import { partnerRead, partners } from "./session.js";

const PAGE = 50;
const ROOMS = 20;

export class Earlier {
  #app;
  #pageToken = "";
  #rooms = new Map();

  /** `app`: client() -> Promise<Mingle> (signs in), currentRoom() -> room id, open(summary), close(). */
  constructor(app) {
    this.#app = app;
    byId("earlier-load").addEventListener("click", () => void this.load(this.#pageToken !== ""));
    byId("earlier-toggle").addEventListener("click", () => this.#drawer(true));
    byId("earlier-close").addEventListener("click", () => this.#drawer(false));
    byId("past-back").addEventListener("click", () => this.#app.close());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      if (document.body.classList.contains("drawer")) this.#drawer(false);
      else if (!byId("view-past").hidden) this.#app.close();
    });
  }

  /** Reads the newest rooms, or with `more` the next page. */
  async load(more = false) {
    const note = byId("earlier-note");
    byId("earlier-load").disabled = true;
    try {
      const client = await this.#app.client();
      if (!client) return;
      const page = await client.rooms({ pageSize: ROOMS, pageToken: more ? this.#pageToken : "" });
      if (!more) this.#rooms.clear();
      for (const room of page.rooms) this.#rooms.set(room.roomId, room);
      this.#pageToken = page.nextPageToken;
      this.show();
    } catch (error) {
      note.textContent = `They cannot be read right now: ${error.message}`;
    } finally {
      byId("earlier-load").disabled = false;
    }
  }

  /** Empties the list, for instance for another user. */
  clear() {
    this.#rooms.clear();
    this.#pageToken = "";
    byId("earlier-list").replaceChildren();
    byId("earlier-note").textContent = "";
    byId("earlier-load").textContent = "Show them";
    toggle(byId("earlier-load"), true);
  }

  /** Shows what was loaded, without the room that is open now. */
  show() {
    const current = this.#app.currentRoom();
    const rooms = [...this.#rooms.values()].filter((room) => room.roomId !== current);
    byId("earlier-list").replaceChildren(...rooms.map((room) => this.#item(room)));
    byId("earlier-note").textContent = rooms.length === 0 ? "None yet." : "";
    byId("earlier-load").textContent = this.#pageToken ? "Show more" : "Refresh";
  }

  /** Shows one room read-only. */
  async read(client, summary) {
    const title = nameOf(summary);
    byId("past-title").textContent = title;
    byId("past-when").textContent = `from ${fullTime(summary.createdAt)}`;
    byId("past-note").textContent = summary.closed ? "This conversation has ended." : "This conversation is still open.";
    paintAvatar(byId("past-avatar"), title);
    const { roomId } = summary;
    const list = new MessageList(byId("past-messages"), {
      self: client.userId,
      actions: null,
      jump: null,
      older: async () => {
        const page = await client.history(roomId, { before: list.oldestSeq, limit: PAGE });
        list.putOlder(page.messages, page.hasMore);
      },
    });
    try {
      const page = await client.history(roomId, { limit: PAGE });
      if (page.messages.length === 0) list.system("Nobody said anything.");
      this.#learn(roomId, page.messages.find(({ senderId }) => senderId !== client.userId)?.senderId);
      list.readUpTo(partnerRead.read(roomId));
      list.put(page.messages);
      list.setMore(page.hasMore);
      list.toEnd();
    } catch (error) {
      list.system(`The messages cannot be read: ${error.message}`);
    }
  }

  #learn(roomId, partner) {
    if (!partner || partners.read(roomId)) return;
    partners.write(roomId, partner);
    byId("past-title").textContent = partner;
    paintAvatar(byId("past-avatar"), partner);
    this.show();
  }

  #item(room) {
    const title = nameOf(room);
    const avatar = element("span", { class: "avatar small", aria: { hidden: "true" } });
    paintAvatar(avatar, title);
    const unread = room.unread > 0 ? `, ${room.unread} unread` : "";
    const when = element("span", { class: "when" }, `${shortTime(room.createdAt)} · ${room.closed ? "ended" : "open"}${unread}`);
    const open = element("button", { type: "button", data: { testid: "history-item", roomId: room.roomId } }, avatar, element("span", { class: "what" }, element("span", { class: "title" }, title), when));
    open.addEventListener("click", () => {
      this.#drawer(false);
      this.#app.open(room);
    });
    return element("li", {}, open);
  }

  // On a narrow screen the list lies over the page.
  #drawer(open) {
    const was = document.body.classList.toggle("drawer", open) !== open;
    byId("earlier-toggle").setAttribute("aria-expanded", String(open));
    if (open) {
      byId("earlier-title").focus();
      if (byId("earlier-list").childElementCount === 0) void this.load();
    } else if (!was && getComputedStyle(byId("earlier-toggle")).display !== "none") {
      byId("earlier-toggle").focus();
    }
  }
}

function nameOf(room) {
  return room.name || partners.read(room.roomId) || "Conversation";
}
