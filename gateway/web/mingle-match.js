// The open ticket: found again after a reconnect, and its match told exactly
// once. Part of mingle.js.

const REMEMBERED = 64;
/** How soon the room of a fresh match is asked for again. */
const ROOM_AGAIN_MS = 1000;

export class Match {
  #owner;
  #open = null;
  #told = new Set();
  #checking = false;
  #timer;
  #again;

  /**
   * `owner`: join(body), leave(ticketId), ticket(ticketId), emit(name, event),
   * ready() -> is there a connection, checkMs.
   */
  constructor(owner) {
    this.#owner = owner;
  }

  get ticketId() {
    return this.#open?.ticketId ?? "";
  }

  /** Follows the ticket that a join of `body` answered. */
  follow(body, ticket) {
    if (ticket.state !== "WAITING") {
      this.#settled(ticket, body.pool);
      return;
    }
    this.#open = { body, ticketId: ticket.ticketId };
    clearInterval(this.#timer);
    this.#timer = setInterval(() => void this.check(false), this.#owner.checkMs);
  }

  /** True for a match that was told: whoever joins again looks for another. */
  wasTold(ticket) {
    return ticket.state === "MATCHED" && this.#told.has(ticket.matchId);
  }

  /** The ticket was answered by matchLeave. */
  left(ticket) {
    if (ticket.state === "MATCHED") this.#settled(ticket, "");
  }

  /** Tells of a match unless that was done. */
  matched(event) {
    if (this.#told.has(event.matchId)) return;
    this.#told.add(event.matchId);
    if (this.#told.size > REMEMBERED) this.#told.delete(this.#told.values().next().value);
    if (this.#open?.ticketId === event.ticketId) this.stop();
    this.#owner.emit("matched", event);
  }

  stop() {
    this.#open = null;
    clearInterval(this.#timer);
    clearTimeout(this.#again);
  }

  /**
   * Asks what became of the open ticket. After a reconnect the join is said
   * again too, since the new socket has to stand for the ticket. Failures are
   * left to the next check.
   */
  async check(reconnected) {
    const open = this.#open;
    if (!open || this.#checking || !this.#owner.ready()) return;
    this.#checking = true;
    try {
      const view = await this.#owner.ticket(open.ticketId).catch(() => null);
      if (this.#open !== open) return;
      if (view?.state === "MATCHED" && !view.roomId) this.#again = setTimeout(() => void this.check(reconnected), ROOM_AGAIN_MS);
      else if (view && view.state !== "WAITING") this.#settled(view, open.body.pool);
      else if (reconnected) await this.#rejoin(open);
    } catch {
      // The next reconnect or the timer asks again.
    } finally {
      this.#checking = false;
    }
  }

  // The ticket may be matched between the question and the join; the join
  // then opens another ticket, which must not wait on beside the match.
  async #rejoin(open) {
    const ticket = await this.#owner.join(open.body);
    if (this.#open !== open) {
      if (ticket.state === "WAITING" && ticket.ticketId !== open.ticketId) await this.#owner.leave(ticket.ticketId);
      return;
    }
    if (ticket.ticketId !== open.ticketId) {
      const earlier = await this.#owner.ticket(open.ticketId).catch(() => null);
      if (earlier?.state === "MATCHED") {
        if (ticket.state === "WAITING") await this.#owner.leave(ticket.ticketId);
        this.#settled(earlier, open.body.pool);
        return;
      }
    }
    this.follow(open.body, ticket);
  }

  #settled(ticket, pool) {
    if (ticket.state === "MATCHED") {
      // Without a room yet: the event or a check brings it.
      if (!ticket.roomId) return;
      const { ticketId, matchId, roomId, users = [] } = ticket;
      this.matched({ matchId, ticketId, pool: ticket.pool || pool, roomId, users });
      return;
    }
    if (this.#open?.ticketId === ticket.ticketId) this.stop();
    this.#owner.emit("ticket", { ticketId: ticket.ticketId, state: ticket.state });
  }
}
