// Who this tab is and where it was: kept in sessionStorage, so that two tabs
// are two people and a reload goes on where it stopped.

import { MingleError } from "./mingle.js";
import { errorOf } from "./mingle-wire.js";

const COLOURS = ["amber", "bold", "calm", "clever", "gentle", "jolly", "kind", "lucky", "mellow", "quiet", "sunny", "witty"];
const ANIMALS = ["badger", "crane", "dolphin", "falcon", "fox", "heron", "lynx", "marten", "otter", "panda", "robin", "wren"];
const REMEMBERED_PARTNERS = 50;
const TOKEN_WITHIN_MS = 10_000;

/** The server hands out no tokens: the user has to bring one. */
export class NoTokens extends Error {}

/** A readable name that is rarely given twice. */
export function randomName() {
  const [a, b, c] = crypto.getRandomValues(new Uint16Array(3));
  return `${COLOURS[a % COLOURS.length]}-${ANIMALS[b % ANIMALS.length]}-${100 + (c % 900)}`;
}

function load(key, fallback) {
  try {
    return JSON.parse(sessionStorage.getItem(`mingle.${key}`)) ?? fallback;
  } catch {
    return fallback;
  }
}

function save(key, value) {
  try {
    if (value === null) sessionStorage.removeItem(`mingle.${key}`);
    else sessionStorage.setItem(`mingle.${key}`, JSON.stringify(value));
  } catch {
    // Storage is off or full: the page works, a reload starts afresh.
  }
}

/** `{userId, gender, wants}`; wants is empty for anyone. */
export const profile = {
  read: () => load("profile", { userId: randomName(), gender: "other", wants: [] }),
  write: (value) => save("profile", value),
};

/** `{view, ticketId?, join?, roomId?, partner?}`, or null on the start view. */
export const place = {
  read: () => load("place", null),
  write: (value) => save("place", value),
};

/** Messages of a room that have no answer yet: `[{clientMsgId, body}]`. */
export const outbox = {
  read: (roomId) => load(`outbox.${roomId}`, []),
  write: (roomId, messages) => save(`outbox.${roomId}`, messages.length > 0 ? messages : null),
};

/** How far the partner has read a room. */
export const partnerRead = {
  read: (roomId) => load(`read.${roomId}`, 0),
  write: (roomId, seq) => save(`read.${roomId}`, seq),
};

/** The other's name by room, which the list of rooms does not tell. */
export const partners = {
  read: (roomId) => load("partners", {})[roomId] ?? "",
  write: (roomId, name) => {
    const all = Object.entries({ ...load("partners", {}), [roomId]: name });
    save("partners", Object.fromEntries(all.slice(-REMEMBERED_PARTNERS)));
  },
};

/** Forgets the token of this tab. */
export function signOut() {
  save("token", null);
}

/** Keeps a token that the user pasted. */
export function usePastedToken(token) {
  save("token", { token, pasted: true });
}

/** True when the kept token serves for this name. */
export function signedInAs(userId) {
  const kept = load("token", null);
  return Boolean(kept) && (kept.pasted || kept.userId === userId);
}

/**
 * A token for `userId`: the kept one, or a new development token. Throws
 * NoTokens where the server gives none and none was pasted.
 */
export async function tokenFor(userId, { renew = false } = {}) {
  const kept = load("token", null);
  if (kept?.pasted) {
    if (!renew) return kept.token;
    throw new MingleError({ code: "UNAUTHENTICATED", reason: "TOKEN_EXPIRED", message: "The token is no longer accepted." });
  }
  if (!renew && kept?.userId === userId && Date.parse(kept.expiresAt) - Date.now() > 30_000) return kept;
  const fresh = { userId, ...(await requestToken(userId)) };
  save("token", fresh);
  return fresh;
}

async function requestToken(userId) {
  const response = await fetch("api/dev/token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ userId }),
    signal: AbortSignal.timeout(TOKEN_WITHIN_MS),
  });
  if (response.status === 404) throw new NoTokens();
  if (!response.ok) throw await errorOf(response);
  return response.json();
}
