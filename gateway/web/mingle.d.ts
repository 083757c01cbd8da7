// Types of mingle.js. 64-bit fields of the protocol are numbers here (safe
// integers); times are RFC 3339 strings.

export const CLOSE: Readonly<{
  /** The token is not accepted: a new one is tried once, then it is final. */
  UNAUTHENTICATED: 4001;
  /** A new token is fetched; final without `getToken`. */
  TOKEN_EXPIRED: 4002;
  /** Final: the page's origin is not among those allowed. */
  ORIGIN_NOT_ALLOWED: 4003;
  /** Retried. */
  HELLO_TIMEOUT: 4004;
  /** Final: the user has as many connections as they may. */
  TOO_MANY_CONNECTIONS: 4005;
  /** Retried. */
  IDLE: 4006;
  /** Final: this client and the server do not understand each other. */
  PROTOCOL_ERROR: 4007;
  /** Retried; what was missed is replayed. */
  SLOW: 4008;
  /** Final: a newer socket holds the session. */
  SUPERSEDED: 4009;
  /** Retried after the delay that `draining` told. */
  DRAINING: 4010;
  /** Retried with back-off. */
  OVERLOADED: 4011;
}>;

export type TicketState = "WAITING" | "MATCHED" | "CANCELLED" | "EXPIRED";
export type RoomKind = "PAIR" | "DIRECT" | "CHANNEL";
export type PresenceStatus = "ONLINE" | "AWAY" | "BUSY" | "OFFLINE" | "UNKNOWN";
export type State = "idle" | "connecting" | "open" | "reconnecting" | "closed";

/** A place in a room's log. `{seq: 0, id: ""}` is before the first event. */
export interface Position { seq: number; id: string }
export interface Welcome {
  sessionId: string; userId: string; node: string; pingIntervalMs: number;
  resumeToken: string; resumed: boolean; rooms: Room[];
}
export interface Ticket { ticketId: string; state: TicketState; matchId: string; roomId: string }
export interface TicketView extends Ticket { pool: string; users: string[] }
export interface Matched { matchId: string; ticketId: string; pool: string; roomId: string; users: string[] }
export interface Room {
  roomId: string; kind: RoomKind; headSeq: number; headId: string;
  recovered: boolean; reason: string; closed: boolean; members: string[];
}
export interface RoomSummary {
  roomId: string; kind: RoomKind; name: string; closed: boolean; createdAt: string;
  headSeq: number; headId: string; unread: number; memberCount: number;
}
export interface Sent { messageId: string; seq: number; sentAt: string; traceId: string }
export interface Message {
  roomId: string; seq: number; messageId: string; senderId: string; clientMsgId: string;
  /** Empty when deleted. */
  body: string;
  metadata: Record<string, string>; sentAt: string; traceId: string; editedAt?: string; deleted: boolean;
}
export interface Edited {
  roomId: string; seq: number; id: string; messageId: string; messageSeq: number;
  editorId: string; body: string; at: string;
}
export interface Deleted {
  roomId: string; seq: number; id: string; messageId: string; messageSeq: number; deleterId: string; at: string;
}
export interface MemberChanged { roomId: string; seq: number; id: string; userId: string; joined: boolean; at: string }
export interface RoomClosed {
  roomId: string; seq: number; id: string;
  /** Empty when the system closed it. */
  closerId: string;
  reason: "left" | "closed" | "idle";
  at: string;
}
export interface Presence { userId: string; status: PresenceStatus; lastSeen?: string }
/** A service that is not well, and what is away that it needs. */
export interface DegradedPart { name: string; unavailable: boolean; causes: string[] }
export interface PoolView {
  pool: string; waiting: number; matchesLastMinute: number;
  /** Absent when too few were matched lately. */
  medianWaitMs?: number;
}

/** What happened, by name of the event. A room's own events come once it is joined. */
export interface MingleEvents {
  message: Message;
  edited: Edited;
  deleted: Deleted;
  member: MemberChanged;
  roomClosed: RoomClosed;
  /** Each match once, however it became known; join its room. */
  matched: Matched;
  /** The open ticket ended without a match, perhaps while away. */
  ticket: { ticketId: string; state: TicketState };
  presence: Presence;
  typing: { roomId: string; userId: string };
  read: { roomId: string; userId: string; seq: number };
  /** What was missed cannot be replayed: load the room's history anew. */
  reset: { roomId: string; reason: string; room: Room | null };
  /** What is degraded now; empty when all is well again, perhaps at another gateway. */
  degraded: { states: string[]; parts: DegradedPart[] };
  draining: { retryAfterMs: number };
  /** A session began or was taken up. */
  welcome: Welcome;
  /** A request is over its limit. It is kept and asked again by itself in `retryInMs`. */
  limited: {
    /** "send", "matchJoin" and so on. */
    kind: string;
    /** Of what it is about, or "". */
    roomId: string; clientMsgId: string;
    retryInMs: number; error: MingleError;
  };
  /**
   * `code`: of the close. While reconnecting `retryInMs` tells when, and
   * `error` what getToken threw or the server refused with; it is null when
   * the connection was lost. When closed for good `error` tells why.
   */
  state: { state: State; code: number; retryInMs: number; error: (Error & Partial<MingleError>) | null };
}

export class MingleError extends Error {
  /** A gRPC status by name. */
  readonly code: string;
  /**
   * One of mingle.errors.v1.Reason, or of the client: BACKLOG_FULL, DEADLINE,
   * CLIENT_CLOSED, CONNECTION_LOST, or the name of a close code.
   */
  readonly reason: string;
  /** The field at fault, or "". */
  readonly field: string;
  readonly retryAfterMs: number;
  /** The WebSocket close code that it came from, or 0. */
  readonly closeCode: number;
  /** The same request with the same key may be sent again. */
  get retryable(): boolean;
}

type GotToken = string | { token: string; expiresAt?: string };

export interface MingleOptions {
  /** The gateway's origin or the folder it is mounted at; the page's origin. */
  url?: string;
  token?: string;
  /**
   * Asked before the first connection and whenever the token no longer
   * serves. A failure is told by `state` and retried, not before its
   * `retryAfterMs` if it has one, unless it is a MingleError UNAUTHENTICATED
   * or PERMISSION_DENIED.
   */
  getToken?: (why: { renew: boolean }) => GotToken | Promise<GotToken>;
  /** A WebSocket class, where there is no global one. */
  webSocket?: unknown;
  fetch?: typeof globalThis.fetch;
  /** 10 s. */
  requestTimeoutMs?: number;
  /** From dialling to welcome; 10 s. */
  connectTimeoutMs?: number;
  /**
   * 7 s. A quiet connection is pinged ahead of a request, and when nothing was
   * sent for the server's ping interval. One that says nothing at all for this
   * long, and a second more, is given up and dialled again. Once the ping is
   * answered the request has the time that a service may take: 12 s of silence,
   * 15 s of `presenceWatch`, 50 s of `roomJoin`. Any frame begins the time anew.
   */
  pongTimeoutMs?: number;
  /** Unanswered messages that are kept; 200. One more is refused: BACKLOG_FULL. */
  backlogLimit?: number;
  /** 250 ms; the wait is random below base·2^attempt. */
  backoffBaseMs?: number;
  /**
   * 15 s; 5 s for requests that are answered UNAVAILABLE, beneath what their
   * `retryAfterMs` tells. What waits for a service goes on within 2 s once
   * `degraded` tells that it is better.
   */
  backoffCapMs?: number;
  /** How often an open ticket is asked after, beside the events; 20 s. */
  ticketCheckMs?: number;
  /** 64 KiB. */
  maxFrameBytes?: number;
  random?: () => number;
}

export interface Join { attributes?: Record<string, string>; wants?: Record<string, string[]> }

export class Mingle {
  constructor(options?: MingleOptions);
  readonly state: State;
  readonly userId: string;
  readonly sessionId: string;
  /** Messages sent and not answered yet. */
  readonly pending: number;
  /** The ticket that waits, or "". */
  readonly ticketId: string;
  position(roomId: string): Position | undefined;
  /**
   * Answers a function that ends the subscription. What a listener throws, or its
   * promise rejects with, is reported (`reportError`, else the console).
   */
  on<K extends keyof MingleEvents>(name: K, listener: (event: MingleEvents[K]) => unknown): () => void;
  /** Resolves at the first welcome; rejects with what ended it for good. */
  connect(): Promise<void>;
  close(): void;
  wake(): void;

  matchJoin(pool: string, join?: Join): Promise<Ticket>;
  matchResume(ticketId: string, pool: string, join?: Join): Promise<void>;
  matchLeave(ticketId?: string, options?: { timeoutMs?: number }): Promise<Ticket>;
  roomJoin(roomId: string, options?: { after?: Position }): Promise<Room>;
  roomLeave(roomId: string, options?: { timeoutMs?: number }): Promise<void>;
  /** Kept, and sent again with the same key, until the server answers. */
  send(roomId: string, body: string, options?: { clientMsgId?: string; metadata?: Record<string, string> }): Promise<Sent>;
  edit(roomId: string, messageId: string, body: string): Promise<void>;
  delete(roomId: string, messageId: string): Promise<void>;
  /** Oldest first; `before` 0 or absent: the newest. */
  history(roomId: string, options?: { before?: number; limit?: number }): Promise<{ messages: Message[]; hasMore: boolean }>;
  read(roomId: string, seq: number): Promise<void>;
  typing(roomId: string): void;
  presenceWatch(userIds: Iterable<string>): Promise<Presence[]>;
  presenceSet(status: "ONLINE" | "AWAY" | "BUSY"): Promise<void>;
  /** The way there and back, in ms. */
  ping(): Promise<number>;

  ticket(ticketId: string): Promise<TicketView>;
  pool(name: string): Promise<PoolView>;
  rooms(page?: { pageSize?: number; pageToken?: string }): Promise<{ rooms: RoomSummary[]; nextPageToken: string }>;
}

/** A new random key for `clientMsgId`. */
export function newId(): string;
