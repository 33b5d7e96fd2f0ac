/** Who is here: restores, opens and ends the session, and notices when it is over. */

import { Emitter } from "../../web/static/emitter.js";
/** @import { User } from "../../web/types/api.d.ts" */
/** @import { Api } from "./api.js" */
/** @import { LocalStore } from "./storage.js" */

import { ApiError, IdentityChanged } from "./api.js";

/** The browser did not keep the session's cookie: every request would be a stranger's. */
export class CookiesBlocked extends Error {
  constructor() {
    super("Your browser blocks cookies for this site. The chat needs one to know who you are: allow cookies, then load this page again.");
    this.name = "CookiesBlocked";
    this.temporary = true;
  }
}

/** @typedef {"guest" | "login" | "register"} Way */
/** @typedef {"loading" | "signed-out" | "signed-in" | "expired"} SessionState */

/**
 * `state` is one of
 *   loading     not known yet
 *   signed-out  no account
 *   signed-in   `user`
 *   expired     `user` was here; what they wrote stays on the screen until they return
 *
 * Emits "change" with {user, previous, state}, and "user" when the same user has changed.
 */
export class Session extends Emitter {
  /** @type {SessionState} */
  state = "loading";
  /** @type {User | null} */
  user = null;
  #cookiesBlocked = !navigator.cookieEnabled;

  /**
   * @param {Api} api
   * @param {LocalStore} store
   * @param {{ cookie: boolean }} options
   */
  constructor(api, store, { cookie }) {
    super();
    this.api = api;
    this.store = store;
    this.cookie = cookie;
    api.onIdentityChanged = () => this.#recheck();
    store.onChange((key) => {
      if (key === "who" && !store.get("who")) this.#leftElsewhere();
      else if (key === "who" || key === "session" || key === "upgraded") this.#recheck();
    });
  }

  /**
   * Take up the session this browser already has. Throws what the API throws, except 401.
   *
   * @param {{ mayExist: boolean }} options
   */
  async restore({ mayExist }) {
    if (this.state !== "loading") return;
    if (!mayExist) {
      this.#become(null, "signed-out");
      return;
    }
    await this.check();
  }

  /** Request the caller from the API, and sign in as that account or sign out. */
  async check() {
    if (!this.cookie && !this.api.auth.token) {
      this.#become(null, "signed-out");
      return;
    }
    try {
      const { data } = await this.api.get("/api/auth/me");
      this.api.auth.renew();
      this.#become(data, "signed-in");
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      if (this.user) this.expire();
      else this.#become(null, "signed-out");
    }
  }

  #leftElsewhere() {
    this.api.auth.renew();
    this.#become(null, "signed-out");
  }

  /** Another tab has signed in or out; without an answer the next request finds out. */
  #recheck() {
    this.check().catch(() => undefined);
  }

  /**
   * Sign in: `way` is "guest", "login" or "register". Throws ApiError with `fields`, CookiesBlocked.
   *
   * @param {Way} way
   * @param {object} fields
   */
  async enter(way, fields) {
    this.begin(await this.open(way, fields));
  }

  /**
   * Open a session and return its user; until `begin` the reader still counts as signed out.
   * Throws what `enter` throws.
   *
   * @param {Way} way
   * @param {object} fields
   * @returns {Promise<User>}
   */
  async open(way, fields) {
    // Asked again, the server would make another guest each time.
    if (this.cookie && this.#cookiesBlocked) throw new CookiesBlocked();
    const body = this.cookie ? { ...fields, cookie: true } : fields;
    // Entering must not be refused because the session that is over has left a token behind.
    this.api.expectedUser = null;
    this.api.auth.renew();
    const { data } = await this.api.post(`/api/auth/${way}`, body);
    this.api.auth.renew();
    if (this.cookie) await this.#requireCookie();
    else this.store.set("session", { token: data.token, expiresAt: data.expiresAt });
    return data.user;
  }

  /**
   * Become the user that `open` has returned.
   *
   * @param {User} user
   */
  begin(user) {
    this.#become(user, "signed-in");
    if (this.cookie) this.store.set("who", user._id);
  }

  /** Throw CookiesBlocked if the cookie that has just been set does not come back. */
  async #requireCookie() {
    try {
      await this.api.get("/api/auth/me");
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) return;
      this.#cookiesBlocked = true;
      throw new CookiesBlocked();
    }
  }

  /**
   * Make the guest's account a user's, with its chats. Throws ApiError with `fields`.
   *
   * @param {string} password
   */
  async upgrade(password) {
    const { data } = await this.api.post("/api/auth/upgrade", { password });
    this.#become(data, "signed-in");
    // So that the other tabs do not take this user for a guest.
    this.store.set("upgraded", Date.now());
  }

  /** Sign out; a session that is already over counts as signed out. */
  async leave() {
    try {
      await this.api.post("/api/auth/logout", {}, { last: true });
    } catch (error) {
      if (error instanceof IdentityChanged) return;
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
    }
    this.forget();
  }

  /** Sign out on this device, also without the server. */
  forget() {
    this.api.auth.renew();
    if (this.cookie) this.store.set("who", null);
    else this.store.remove("session");
    this.#become(null, "signed-out");
  }

  /** The API no longer accepts the session. */
  expire() {
    if (this.state !== "signed-in") return;
    this.api.auth.renew();
    this.#become(this.user, "expired");
  }

  /**
   * @param {User | null} user
   * @param {SessionState} state
   */
  #become(user, state) {
    const previous = this.user;
    const same = state === this.state && user?._id === previous?._id;
    this.user = user;
    this.state = state;
    if (same) {
      if (user?.role !== previous?.role) this.emit("user", user);
      return;
    }
    this.api.expectedUser = state === "signed-in" ? user?._id ?? null : null;
    this.emit("change", { user, previous, state });
  }
}
