// What travels: close codes and their retry rules, errors, and the numbers
// that JSON carries as strings. Part of mingle.js.

/** Why the server closed the socket. */
export const CLOSE = Object.freeze({
  UNAUTHENTICATED: 4001,
  TOKEN_EXPIRED: 4002,
  ORIGIN_NOT_ALLOWED: 4003,
  HELLO_TIMEOUT: 4004,
  TOO_MANY_CONNECTIONS: 4005,
  IDLE: 4006,
  PROTOCOL_ERROR: 4007,
  SLOW: 4008,
  SUPERSEDED: 4009,
  DRAINING: 4010,
  OVERLOADED: 4011,
});

const RULES = new Map([
  [CLOSE.UNAUTHENTICATED, "refresh"],
  [CLOSE.TOKEN_EXPIRED, "renew"],
  [CLOSE.ORIGIN_NOT_ALLOWED, "never"],
  [CLOSE.TOO_MANY_CONNECTIONS, "never"],
  [CLOSE.PROTOCOL_ERROR, "never"],
  [CLOSE.SUPERSEDED, "never"],
]);

/**
 * What to do after a close: "never" connect again by itself, "refresh" the
 * token once, "renew" the token each time, or plainly "retry".
 */
export function closeRule(code) {
  return RULES.get(code) ?? "retry";
}

/** The `reason` of the error that a terminal close code becomes. */
export function closeReason(code) {
  const known = Object.entries(CLOSE).find(([, value]) => value === code);
  return known ? known[0] : "CONNECTION_LOST";
}

/**
 * Why a request failed. `code` is a gRPC status name, `reason` one of
 * mingle.errors.v1.Reason or of the client itself: BACKLOG_FULL, DEADLINE,
 * CLIENT_CLOSED, CONNECTION_LOST or the name of a close code.
 */
export class MingleError extends Error {
  constructor({ code = "UNKNOWN", reason = "", field = "", message = "", retryAfterMs = 0, closeCode = 0 }) {
    super(message || reason || code);
    this.name = "MingleError";
    this.code = code;
    this.reason = reason;
    this.field = field;
    this.retryAfterMs = retryAfterMs;
    this.closeCode = closeCode;
  }

  /** True when the same request with the same key may be sent again. */
  get retryable() {
    if (this.code === "RESOURCE_EXHAUSTED") return this.retryAfterMs > 0;
    return this.code === "UNAVAILABLE" || this.code === "DEADLINE_EXCEEDED";
  }
}

/**
 * The error that an HTTP answer is: its problem, or, where something in
 * between answered in its own words, what status and Retry-After say.
 */
export async function errorOf(response) {
  const { status } = response;
  const body = await response.json().catch(() => ({}));
  const plain = { message: `HTTP ${status}`, retryAfterMs: retryAfter(response.headers.get("retry-after")) };
  if (status === 429) Object.assign(plain, { code: "RESOURCE_EXHAUSTED", reason: "RATE_LIMITED" });
  if ([502, 503, 504].includes(status)) Object.assign(plain, { code: "UNAVAILABLE", reason: "UNAVAILABLE" });
  return new MingleError({ ...plain, ...body });
}

// Seconds, or a date (RFC 9110).
function retryAfter(value) {
  if (!value) return 0;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return ms > 0 ? ms : 0;
}

const NUMBERS = new Set([
  "seq", "headSeq", "messageSeq", "unread", "waiting", "matchesLastMinute", "medianWaitMs", "users", "sessions",
]);
const OPAQUE = new Set(["metadata", "attributes", "wants"]);

/**
 * Turns the 64-bit fields of a decoded frame or HTTP body into numbers, in
 * place. They are counters of one room or pool and stay far below 2^53; one
 * that does not is left a string rather than rounded. What users name
 * themselves (metadata) is not touched.
 */
export function toNumbers(value) {
  if (value === null || typeof value !== "object") return value;
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === "string") {
      if (NUMBERS.has(key) && !Array.isArray(value)) value[key] = asNumber(inner);
    } else if (!OPAQUE.has(key)) {
      toNumbers(inner);
    }
  }
  return value;
}

function asNumber(text) {
  const number = Number(text);
  return text !== "" && Number.isSafeInteger(number) ? number : text;
}

/** A new random key for `clientMsgId`: 24 hexadecimal characters. */
export function newId() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Full jitter: a random wait below base·2^attempt, which the cap bounds. */
export function jitter({ baseMs, capMs, random }, attempt) {
  return Math.floor(random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 20)));
}
