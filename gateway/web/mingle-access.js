// Where the gateway is, who is asking, and its HTTP API. Part of mingle.js.

import { MingleError, errorOf, toNumbers } from "./mingle-wire.js";

/** A token that ends sooner than this is not used for something new. */
const TOKEN_SPARE_MS = 30_000;

export class Access {
  #options;
  #token = null;

  /** `options`: url, fetch, token or getToken, requestTimeoutMs. */
  constructor(options) {
    this.#options = options;
  }

  /** The address of the WebSocket. */
  get socketUrl() {
    return address(this.#options.url, "ws", "ws");
  }

  /** The token; a new one when `renew` is set or it is about to end. */
  async bearer(renew = false) {
    if (!this.#options.getToken) return this.#options.token;
    const stale = Boolean(this.#token?.expiresAt) && this.#token.expiresAt - Date.now() < TOKEN_SPARE_MS;
    if (renew || stale || !this.#token) {
      const got = await this.#options.getToken({ renew: renew || stale });
      const { token, expiresAt } = typeof got === "string" ? { token: got } : got;
      this.#token = { token, expiresAt: expiresAt ? Date.parse(expiresAt) : 0 };
    }
    return this.#token.token;
  }

  /** Reads `path` (without a leading slash); a problem becomes a MingleError. */
  async get(path) {
    let response = await this.#fetch(path, await this.bearer());
    if (response.status === 401 && this.#options.getToken) response = await this.#fetch(path, await this.bearer(true));
    if (!response.ok) throw await errorOf(response);
    return toNumbers(await response.json().catch(() => ({})));
  }

  async #fetch(path, token) {
    const { url, requestTimeoutMs } = this.#options;
    // Not as a method of the options: browsers refuse a fetch with another `this`.
    const fetch = this.#options.fetch ?? globalThis.fetch;
    try {
      return await fetch(address(url, "http", path), {
        headers: { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(requestTimeoutMs),
      });
    } catch (error) {
      throw new MingleError({ code: "UNAVAILABLE", reason: "CONNECTION_LOST", message: String(error) });
    }
  }
}

// `base` is the gateway's origin, or the folder it is mounted at.
function address(base, scheme, path) {
  const folder = new URL(base);
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  const url = new URL(path, folder);
  const secure = url.protocol === "https:" || url.protocol === "wss:";
  url.protocol = secure ? `${scheme}s:` : `${scheme}:`;
  return url.href;
}
