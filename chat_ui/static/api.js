/** The public API over HTTP: sessions, problems as errors, CSRF, ETags. */

/** @import { Problem } from "../../web/types/api.d.ts" */
/** @import { LocalStore } from "./storage.js" */

import { encode } from "../../web/static/json.js";

const TIMEOUT = 20_000;
const PROTOCOL = "chat.v1";
const SAFE = new Set(["GET", "HEAD"]);
const GIVEN_UP = "given up";

/** The server answered with a problem; `message` can be shown to the reader. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {Problem} problem
   * @param {number | null} [retryAfter] seconds
   */
  constructor(status, problem = {}, retryAfter = null) {
    super(problem.detail || problem.title || `The server answered with an error (${status}).`);
    this.name = "ApiError";
    this.status = status;
    this.code = problem.code ?? "";
    this.fields = problem.fields ?? {};
    this.problem = problem;
    this.retryAfter = retryAfter;
  }

  /** The service cannot respond to any request now. */
  get unavailable() {
    return this.status === 502 || this.status === 503 || this.status === 504;
  }

  /** The same request may succeed later without a change. */
  get temporary() {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }

  get signedOut() {
    return this.status === 401 && this.code !== "wrong_credentials";
  }
}

/** No answer came: no connection, or it took too long. */
export class NetworkError extends Error {
  constructor() {
    super("The chat cannot be reached. Check your internet connection.");
    this.name = "NetworkError";
    this.temporary = true;
  }
}

/** The cookie now belongs to someone else, who signed in from another tab. */
export class IdentityChanged extends Error {
  constructor() {
    super("Another user has signed in from another tab.");
    this.name = "IdentityChanged";
  }
}

/**
 * The HttpOnly cookie of the chat's own page, with its CSRF token.
 *
 * Another tab can replace the cookie with another account's at any time. So a token is only
 * used after the API has said, later than it gave the token, that this is still the
 * expected account, so that nothing is ever written for another user, because the
 * token of one session is refused with the cookie of another.
 */
export class CookieAuth {
  /** A cookie is not shown to scripts. @type {string | null} */
  token = null;
  /** @type {RequestCredentials} */
  credentials = "same-origin";
  /** @type {Promise<string> | null} */
  #token = null;

  /**
   * @param {Api} api
   * @param {string} method
   * @returns {Promise<Record<string, string>>}
   */
  async headers(api, method) {
    if (SAFE.has(method)) return {};
    this.#token ??= this.#fetchToken(api);
    try {
      return { "X-CSRF-Token": await this.#token };
    } catch (error) {
      this.#token = null;
      throw error;
    }
  }

  /** @param {Api} api */
  async #fetchToken(api) {
    const { data } = await api.request("GET", "/api/auth/csrf");
    if (api.expectedUser) {
      const { data: me } = await api.request("GET", "/api/auth/me");
      if (me._id !== api.expectedUser) {
        api.onIdentityChanged?.();
        throw new IdentityChanged();
      }
    }
    return data.csrfToken;
  }

  /** What a WebSocket offers; the cookie travels by itself. */
  protocols() {
    return [PROTOCOL];
  }

  /** The next request that changes something fetches a new CSRF token. */
  renew() {
    this.#token = null;
  }
}

/** A token kept by the page that embeds the widget; cookies are never sent. */
export class BearerAuth {
  /** @type {RequestCredentials} */
  credentials = "omit";

  /** @param {LocalStore} store */
  constructor(store) {
    this.store = store;
  }

  get token() {
    return this.store.get("session")?.token ?? null;
  }

  /** @returns {Promise<Record<string, string>>} */
  async headers() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  /** A WebSocket can set no header: the token is one of the protocols it offers. */
  protocols() {
    return this.token ? [PROTOCOL, `bearer.${this.token}`] : [PROTOCOL];
  }

  renew() {}
}

/**
 * @typedef {object} RequestOptions
 * @property {unknown} [body] becomes JSON
 * @property {string | null} [etag] of the answer that is here already
 * @property {boolean} [last] this is the request that ends the session
 */

/**
 * @typedef {object} Answer `data` is null of a 304.
 * @property {number} status
 * @property {any} data
 * @property {string | null} etag
 * @property {Headers} headers
 */

export class Api {
  /** The account that requests are made for, or null; see CookieAuth. @type {string | null} */
  expectedUser = null;
  /** @type {(() => void) | null} */
  onIdentityChanged = null;
  /**
   * Called with the result of each reading request: "ok", "offline" or "unavailable". A writing one that
   * fails says too little: it may be the only one to fail.
   *
   * @type {((contact: "ok" | "offline" | "unavailable") => void) | null}
   */
  onContact = null;
  /** What stops each request that is on its way. @type {Set<AbortController>} */
  #onTheirWay = new Set();
  #isLeaving = false;

  /**
   * @param {string} origin
   * @param {CookieAuth | BearerAuth} auth
   */
  constructor(origin, auth) {
    this.origin = origin;
    this.auth = auth;
  }

  get socketUrl() {
    return `${this.origin.replace(/^http/, "ws")}/api/ws`;
  }

  /**
   * @param {string} path
   * @param {RequestOptions} [options]
   */
  get(path, options) {
    return this.request("GET", path, options);
  }

  /**
   * @param {string} path
   * @param {unknown} body
   * @param {RequestOptions} [options]
   */
  post(path, body = {}, options = {}) {
    return this.request("POST", path, { ...options, body });
  }

  /**
   * Ask the API and return {status, data, etag, headers}; status 304 has no data.
   *
   * `last` marks the request that ends the session. The session is over before its answer is
   * here, so until then every other request is given up: it would be answered by a 401.
   *
   * Throws ApiError, NetworkError, or IdentityChanged.
   *
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} [options]
   * @returns {Promise<Answer>}
   */
  async request(method, path, options = {}) {
    try {
      return await this.#once(method, path, options);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "csrf_failed") throw error;
      this.auth.renew();
      return this.#once(method, path, options);
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} [options]
   * @returns {Promise<Answer>}
   */
  async #once(method, path, { body, etag, last = false } = {}) {
    /** @type {Record<string, string>} */
    const headers = { Accept: "application/json", ...(await this.auth.headers(this, method)) };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (etag) headers["If-None-Match"] = etag;

    /** @type {RequestInit} */
    const init = {
      method,
      headers,
      body: body === undefined ? undefined : encode(body),
      credentials: this.auth.credentials,
      cache: "no-store",
    };
    const response = await (last ? this.#fetchAlone(path, init) : this.#fetch(path, init));
    if (response.status === 304) return { status: 304, data: null, etag: etag ?? null, headers: response.headers };
    if (response.ok) {
      return { status: response.status, data: response.body, etag: response.headers.get("ETag"), headers: response.headers };
    }
    throw new ApiError(response.status, response.body ?? {}, seconds(response.headers.get("Retry-After")));
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   */
  async #fetchAlone(path, init) {
    for (const abort of this.#onTheirWay) abort.abort(GIVEN_UP);
    const answer = this.#fetch(path, init);
    this.#isLeaving = true;
    try {
      return await answer;
    } finally {
      this.#isLeaving = false;
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   */
  async #fetch(path, init) {
    if (this.#isLeaving) throw new NetworkError();
    const abort = new AbortController();
    this.#onTheirWay.add(abort);
    const timer = setTimeout(() => abort.abort(), TIMEOUT);
    const isReading = SAFE.has(init.method ?? "GET");
    try {
      const response = await fetch(this.origin + path, { ...init, signal: abort.signal });
      const text = response.status === 304 ? "" : await response.text();
      const unavailable = [502, 503, 504].includes(response.status);
      if (isReading) this.onContact?.(unavailable ? "unavailable" : "ok");
      return { status: response.status, ok: response.ok, headers: response.headers, body: parsed(text) };
    } catch {
      if (isReading && abort.signal.reason !== GIVEN_UP) this.onContact?.("offline");
      throw new NetworkError();
    } finally {
      clearTimeout(timer);
      this.#onTheirWay.delete(abort);
    }
  }
}

/**
 * The JSON of an answer, or null: a proxy in front may answer with a page of its own.
 *
 * @param {string} text
 */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Retry-After is a number of seconds or a date.
 *
 * @param {string | null} value
 */
function seconds(value) {
  if (!value) return null;
  const number = Number(value);
  if (Number.isFinite(number)) return Math.max(0, number);
  const date = new Date(value).getTime();
  return Number.isNaN(date) ? null : Math.max(0, (date - Date.now()) / 1000);
}
