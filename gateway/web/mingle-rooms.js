// The place in each followed room's log, so that every event is handed out
// once and in order. Part of mingle.js.

const LOG_EVENTS = new Set(["message", "edited", "deleted", "member", "roomClosed"]);

/** True for events that take a seq in their room's log. */
export function isLogEvent(kind) {
  return LOG_EVENTS.has(kind);
}

export class Rooms {
  #rooms = new Map();

  has(roomId) {
    return this.#rooms.has(roomId);
  }

  /** The last event handled, `{seq, id}`, or undefined. */
  position(roomId) {
    const room = this.#rooms.get(roomId);
    return room && { seq: room.seq, id: room.id };
  }

  /** All rooms with their positions, as hello.resume wants them. */
  positions() {
    return [...this.#rooms].map(([roomId, { seq, id }]) => ({ roomId, after: { seq: String(seq), id } }));
  }

  forget(roomId) {
    this.#rooms.delete(roomId);
  }

  /**
   * Takes the server's answer to a join from `after` (undefined: from the
   * head). Answers whether the app must load the room anew.
   */
  joined(room, after) {
    if (room.reason === "not_found") {
      this.forget(room.roomId);
      return true;
    }
    const known = this.#rooms.get(room.roomId);
    if (after && room.recovered) {
      // Live events may have moved on while the join was under way.
      const keep = known && known.seq > after.seq ? known : after;
      this.#rooms.set(room.roomId, { seq: keep.seq, id: keep.id, healing: false, strikes: known?.strikes ?? 0 });
      return false;
    }
    this.#rooms.set(room.roomId, { seq: room.headSeq, id: room.headId, healing: false, strikes: 0 });
    return Boolean(after);
  }

  /**
   * Places a log event: "next" is to be handed out, "old" was before (or the
   * room is not followed), "hole" shows that events before it are missing.
   * What follows a hole is not kept: the healing join brings it again.
   */
  place(kind, event) {
    const room = this.#rooms.get(event.roomId);
    if (!room || event.seq <= room.seq) return "old";
    return event.seq === room.seq + 1 ? "next" : "hole";
  }

  /** The event at the next place was handled. */
  advance(kind, event) {
    const room = this.#rooms.get(event.roomId);
    if (!room || event.seq !== room.seq + 1) return;
    room.seq = event.seq;
    room.id = kind === "message" ? event.messageId : event.id;
    room.strikes = 0;
  }

  /**
   * Starts to heal: answers how many heals came before it without progress,
   * or -1 when one is under way or the room is not followed.
   */
  startHealing(roomId) {
    const room = this.#rooms.get(roomId);
    if (!room || room.healing) return -1;
    room.healing = true;
    room.strikes += 1;
    return room.strikes - 1;
  }

  stopHealing(roomId) {
    const room = this.#rooms.get(roomId);
    if (room) room.healing = false;
  }
}
