// The page: one view at a time, and the way between them.

import { Banner } from "./banner.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { announce, byId, soon, toggle } from "./dom.js";
import { Earlier } from "./earlier.js";
import { Mingle } from "./mingle.js";
import { NoTokens, place, profile, signOut, tokenFor, usePastedToken } from "./session.js";
import { Start } from "./start.js";
import { Waiting } from "./waiting.js";

const POOL = "random-chat";
const MATCH_AGAIN_MS = 2000;
const SIGN_IN_TRIES = 10;
const CANCEL_SHOWN_MS = 5000;
const LEAVE_WITHIN_MS = 60_000;
const AWAY_AFTER_MS = 60_000;
const VIEWS = ["start", "waiting", "conversation", "past"];

class App {
  #client = null;
  #signedIn = "";
  #conversation = null;
  #search = 0;
  #abandoned = "";
  #away = false;
  #awayTimer;
  #start = new Start((chosen) => void this.#find(chosen));
  #waiting = new Waiting();
  #composer = new Composer();
  #banner = new Banner({
    retry: () => this.#client?.wake(),
    takeOver: () => this.#client?.connect().catch(() => {}),
    signIn: () => this.#signInAgain(),
  });
  #earlier = new Earlier({
    client: () => (byId("view-start").hidden && this.#client ? this.#client : this.#signIn()),
    currentRoom: () => this.#conversation?.roomId ?? "",
    open: (summary) => void this.#openPast(summary),
    close: () => this.#show(this.#behind()),
  });

  async run() {
    byId("cancel").addEventListener("click", () => void this.#cancel());
    byId("next").addEventListener("click", () => this.#next());
    byId("leave").addEventListener("click", () => this.#leave());
    addEventListener("online", () => this.#client?.wake());
    document.addEventListener("visibilitychange", () => this.#seen());
    const was = place.read();
    if (!was || !(await this.#signIn(profile.read(), false))) return this.#show("start", false);
    if (was.view === "conversation") await this.#enter(was, false);
    else this.#waitAgain(was);
  }

  /** The client of the chosen user, connected or about to be; null (and told) when that fails. */
  async #signIn(chosen = this.#start.read(), wait = true) {
    if (!chosen) return null;
    const name = this.#start.needsToken ? this.#start.token : chosen.userId;
    if (this.#client && this.#client.state !== "closed" && this.#signedIn === name) return this.#client;
    if (this.#start.needsToken) usePastedToken(this.#start.token);
    this.#start.busy(true);
    try {
      await this.#token(chosen.userId);
      this.#dropClient();
      this.#client = this.#newClient(chosen.userId);
      this.#signedIn = name;
      const connected = this.#client.connect();
      connected.then(() => this.#welcomed(), () => {});
      if (wait) await connected;
      return this.#client;
    } catch (error) {
      this.#signInFailed(error);
      return null;
    } finally {
      this.#start.busy(false);
    }
  }

  // While nobody is let in, it is asked again when the server says.
  async #token(userId) {
    for (let tries = 1; ; tries++) {
      try {
        await tokenFor(userId);
        return this.#start.fail("");
      } catch (error) {
        if (error.code !== "UNAVAILABLE" || !(error.retryAfterMs > 0) || tries === SIGN_IN_TRIES) throw error;
        this.#start.fail(`Nobody can sign in at the moment. It is tried again ${soon(error.retryAfterMs)}.`);
        await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs));
      }
    }
  }

  // A pasted token decides the name; a development token has the one asked for.
  #welcomed() {
    const { userId } = this.#client;
    if (userId !== profile.read().userId) this.#start.rename(userId);
    if (!this.#start.needsToken) this.#signedIn = userId;
    if (this.#client.state === "open") void this.#earlier.load();
  }

  #newClient(userId) {
    const client = new Mingle({ url: new URL(".", document.baseURI).href, getToken: ({ renew }) => tokenFor(userId, { renew }) });
    this.#banner.watch(client);
    client.on("matched", (match) => this.#matched(match));
    client.on("ticket", () => this.#ticketEnded());
    client.on("limited", ({ kind, retryInMs }) => kind === "matchJoin" && this.#waiting.limited(retryInMs));
    return client;
  }

  #dropClient() {
    this.#client?.close();
    this.#client = null;
    this.#earlier.clear();
  }

  #signInFailed(error) {
    if (error instanceof NoTokens) {
      this.#start.askToken();
      return;
    }
    if (error.reason === "RATE_LIMITED") return this.#start.fail(`Too many people sign in from your network. Try again ${soon(error.retryAfterMs)}.`);
    if (error.code === "UNAVAILABLE" && error.retryAfterMs > 0) return this.#start.fail(`Nobody can sign in at the moment. Try again ${soon(error.retryAfterMs)}.`);
    this.#start.fail(["TypeError", "TimeoutError"].includes(error.name) ? "The server cannot be reached. Check your connection and try again." : `You could not sign in: ${error.message}`);
  }

  #signInAgain() {
    signOut();
    this.#closeConversation();
    this.#dropClient();
    this.#toStart("");
  }

  async #find(chosen) {
    const client = await this.#signIn(chosen);
    if (client) await this.#look({ attributes: { gender: chosen.gender }, wants: chosen.wants.length > 0 ? { gender: chosen.wants } : {} });
  }

  // Searches until there is a ticket, the user cancels, or trying makes no sense.
  async #look(join) {
    const search = ++this.#search;
    const here = { view: "waiting", ticketId: "", join };
    this.#wait(here);
    while (search === this.#search) {
      try {
        const { ticketId } = await this.#client.matchJoin(POOL, join);
        if (search === this.#search) this.#waiting.goOn();
        if (search === this.#search && place.read()?.view === "waiting") place.write({ ...here, ticketId });
        else if (!place.read()) this.#abandon(ticketId);
        return;
      } catch (error) {
        if (search !== this.#search) return;
        if (error.reason === "ALREADY_WAITING") return this.#toStart("You are looking for someone in another tab, or were a moment ago. Try again in a few seconds.");
        if (!error.retryable) return this.#toStart(`The search could not be started: ${error.message}`);
        if (error.reason === "RATE_LIMITED") this.#waiting.limited(error.retryAfterMs);
        else this.#waiting.say("Still trying to reach the matchmaker");
        await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs || MATCH_AGAIN_MS));
      }
    }
  }

  #waitAgain(was) {
    if (!was.ticketId) return void this.#look(was.join);
    this.#wait(was);
    void this.#client.matchResume(was.ticketId, POOL, was.join);
  }

  #wait(here) {
    place.write(here);
    this.#waiting.start(this.#client, POOL, here.join.wants.gender ?? []);
    this.#show("waiting");
  }

  async #cancel() {
    byId("cancel").disabled = true;
    this.#waiting.say("Cancelling");
    const search = ++this.#search;
    const { ticketId } = this.#client;
    const patience = new Promise((resolve) => setTimeout(resolve, CANCEL_SHOWN_MS));
    const left = ticketId ? await Promise.race([this.#abandon(ticketId), patience]) : null;
    if (search !== this.#search) return; // matched just then, and in the room
    if (left?.state === "MATCHED") this.#waiting.say("Someone was found just then");
    else this.#toStart("");
  }

  // Gives a ticket up, now or when there is a connection again.
  #abandon(ticketId) {
    this.#abandoned = ticketId;
    return this.#client.matchLeave(ticketId, { timeoutMs: LEAVE_WITHIN_MS }).catch(() => null);
  }

  // The ticket ended while this tab was away; who is still looking looks on.
  #ticketEnded() {
    const here = place.read();
    if (here?.view === "waiting") void this.#look(here.join);
  }

  #matched({ roomId, ticketId, users }) {
    if (place.read()?.view !== "waiting") {
      // Too late for who has gone on: the other is not kept waiting in a room.
      if (ticketId === this.#abandoned) this.#client.roomLeave(roomId, { timeoutMs: LEAVE_WITHIN_MS }).catch(() => {});
      return;
    }
    const partner = users.find((user) => user !== this.#client.userId) ?? "";
    void this.#enter({ roomId, partner }, true);
  }

  async #enter({ roomId, partner, self = this.#client.userId }, fresh) {
    this.#search += 1;
    this.#waiting.stop();
    this.#conversation?.close();
    place.write({ view: "conversation", roomId, partner, self });
    const gone = (text) => {
      this.#closeConversation();
      this.#toStart(text);
    };
    this.#conversation = new Conversation(this.#client, this.#composer, { self, roomId, partner, gone });
    this.#earlier.show();
    this.#show("conversation");
    announce(`You are talking with ${partner || "someone"}`);
    await this.#conversation.open(fresh);
  }

  #next() {
    if (!this.#conversation) return;
    this.#leaveRoom();
    void this.#find(profile.read());
  }

  #leave() {
    if (!this.#conversation) return;
    this.#leaveRoom();
    this.#toStart("");
  }

  // The room is left as soon as there is a connection; nobody waits for that.
  #leaveRoom() {
    const { roomId, ended } = this.#conversation;
    this.#closeConversation();
    const left = ended ? Promise.resolve() : this.#client.roomLeave(roomId, { timeoutMs: LEAVE_WITHIN_MS });
    left.catch(() => {}).then(() => this.#earlier.load());
    this.#client.presenceWatch([]).catch(() => {});
  }

  #closeConversation() {
    this.#conversation?.close();
    this.#conversation = null;
    byId("messages").replaceChildren();
  }

  #toStart(problem) {
    this.#search += 1;
    this.#waiting.stop();
    place.write(null);
    this.#show("start");
    this.#start.fail(problem);
  }

  async #openPast(summary) {
    const client = await this.#signIn();
    if (!client) return;
    const resumable = !summary.closed && !this.#conversation && this.#behind() === "start";
    toggle(byId("past-continue"), resumable);
    byId("past-continue").onclick = () => void this.#enter({ roomId: summary.roomId, partner: "" }, false);
    this.#show("past");
    await this.#earlier.read(client, summary);
  }

  /** The view that an earlier conversation lies over. */
  #behind() {
    return place.read()?.view ?? "start";
  }

  #show(view, focus = true) {
    for (const name of VIEWS) toggle(byId(`view-${name}`), name === view);
    for (const name of ["conversation", "past"]) {
      if (name === view) byId(`view-${name}`).dataset.testid = "conversation";
      else delete byId(`view-${name}`).dataset.testid;
    }
    document.body.dataset.view = view;
    if (view === "conversation") this.#conversation.shown();
    if (!focus) return;
    const coarse = matchMedia("(pointer: coarse)").matches;
    if (view === "conversation" && !this.#conversation?.ended && !coarse) this.#composer.focus();
    else byId(`view-${view}`).querySelector("h2").focus();
  }

  #seen() {
    clearTimeout(this.#awayTimer);
    if (document.hidden) {
      this.#awayTimer = setTimeout(() => this.#setAway(true), AWAY_AFTER_MS);
    } else {
      this.#client?.wake();
      if (this.#away) this.#setAway(false);
    }
  }

  #setAway(away) {
    this.#away = away;
    this.#client?.presenceSet(away ? "AWAY" : "ONLINE").catch(() => {});
  }
}

void new App().run();
