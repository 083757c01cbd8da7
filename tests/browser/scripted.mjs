// A gateway that does what a test scripts, for what the real one cannot be
// made to do: any close code, any error, lost replies, holes in a log.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { Recorder } from "./client.mjs";

/** One log for each room id that is named; every user is in each. */
class Log {
  events = [];

  constructor(roomId) {
    this.roomId = roomId;
  }

  append(kind, fields) {
    const seq = String(this.events.length + 1);
    const key = kind === "message" ? "messageId" : "id";
    const event = { roomId: this.roomId, seq, [key]: randomUUID(), ...fields };
    this.events.push({ kind, event, id: event[key] });
    return event;
  }

  /** The `room` of a reply, and what is replayed behind it. */
  after(after) {
    const seq = Number(after?.seq ?? this.events.length);
    const proved = !after || seq === 0 || this.events[seq - 1]?.id === after.id;
    const room = {
      roomId: this.roomId, kind: "PAIR", headSeq: String(this.events.length), headId: this.events.at(-1)?.id ?? "",
      recovered: proved, reason: proved ? "" : "id_mismatch", closed: false, members: [],
    };
    return { room, replay: proved ? this.events.slice(seq) : [] };
  }
}

export class Scripted {
  #http;
  #sockets = new Set();
  #logs = new Map();

  /** Every request: `{user, kind, body}`. */
  asked = [];
  /** By kind: `(ask) => true` when it answered itself. See `#answer` for `ask`. */
  script = {};
  /** By path: what `GET` answers. */
  pages = {};
  pingIntervalMs = 25_000;
  /** Log events that are not delivered, one after the other. */
  holes = 0;

  static async open() {
    const scripted = new Scripted();
    scripted.#http = createServer((request, response) => {
      const page = scripted.pages[request.url];
      response.writeHead(page ? 200 : 404, { "content-type": "application/json" });
      response.end(JSON.stringify(page?.() ?? { code: "NOT_FOUND", reason: "TICKET_NOT_FOUND", message: "there is no such ticket" }));
    });
    new WebSocketServer({ server: scripted.#http, path: "/ws" }).on("connection", (socket) => scripted.#greet(socket));
    await new Promise((resolve) => scripted.#http.listen(0, "127.0.0.1", resolve));
    return scripted;
  }

  get url() {
    return `http://127.0.0.1:${this.#http.address().port}`;
  }

  /** A client of this gateway; its tokens are `<user> <how many>`. */
  client(user, options = {}) {
    let tokens = 0;
    const made = new Recorder({ url: this.url, getToken: () => `${user} ${++tokens}`, ...options });
    made.tokens = () => tokens;
    return made;
  }

  log(roomId) {
    if (!this.#logs.has(roomId)) this.#logs.set(roomId, new Log(roomId));
    return this.#logs.get(roomId);
  }

  /** Sends an event to a user's socket. */
  tell(user, event) {
    for (const socket of this.#of(user)) socket.send(JSON.stringify(event));
  }

  /** Closes a user's socket; without a code it just breaks. */
  close(user, code) {
    for (const socket of this.#of(user)) code ? socket.close(code) : socket.terminate();
  }

  count(kind) {
    return this.asked.filter((ask) => ask.kind === kind).length;
  }

  async end() {
    for (const socket of this.#sockets) socket.terminate();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  #of(user) {
    return [...this.#sockets].filter((socket) => socket.user === user);
  }

  #greet(socket) {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("message", (text) => {
      const { id, ...rest } = JSON.parse(text);
      const [[kind, body]] = Object.entries(rest);
      if (kind === "hello") [socket.user] = body.token.split(" ");
      this.asked.push({ user: socket.user, kind, body });
      const reply = (answer) => socket.send(JSON.stringify({ id, ...answer }));
      const error = (fields) => reply({ error: { code: "", reason: "", field: "", message: "", retryAfterMs: 0, ...fields } });
      const ask = { user: socket.user, kind, body, socket, reply, error };
      if (!this.script[kind]?.(ask)) this.#answer(ask);
    });
  }

  #answer({ kind, body, socket, reply, user }) {
    if (kind === "hello") {
      const rooms = (body.resume?.rooms ?? []).map(({ roomId, after }) => this.log(roomId).after(after));
      const welcome = { sessionId: "s", userId: user, node: "scripted", pingIntervalMs: this.pingIntervalMs, resumeToken: "resume", resumed: Boolean(body.resume), rooms: rooms.map(({ room }) => room) };
      reply({ welcome });
      for (const { replay } of rooms) this.#replay(socket, replay);
    } else if (kind === "roomJoin") {
      const { room, replay } = this.log(body.roomId).after(body.after);
      reply({ room });
      this.#replay(socket, replay);
    } else if (kind === "send") {
      const message = this.said(user, body);
      reply({ sent: { messageId: message.messageId, seq: message.seq, sentAt: message.sentAt, traceId: "" } });
      this.#deliver(message);
    } else {
      reply(kind === "ping" ? { pong: {} } : { ok: {} });
    }
  }

  /** Appends a message, once for each `clientMsgId`. */
  said(user, { roomId, clientMsgId, body }) {
    const log = this.log(roomId);
    const known = log.events.find(({ event }) => event.clientMsgId === clientMsgId);
    const fields = { senderId: user, clientMsgId, body, metadata: {}, sentAt: "2026-01-01T00:00:00.000Z", traceId: "", deleted: false };
    return known?.event ?? log.append("message", fields);
  }

  #deliver(message) {
    if (this.holes > 0) this.holes -= 1;
    else for (const socket of this.#sockets) socket.send(JSON.stringify({ message }));
  }

  #replay(socket, events) {
    for (const { kind, event } of events) socket.send(JSON.stringify({ [kind]: event }));
  }
}
