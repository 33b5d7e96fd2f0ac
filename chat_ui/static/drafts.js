/** What has been typed and not sent, per account and chat; it survives a reload. */

import { LocalStore } from "./storage.js";

/** The name of the draft of a chat that is not there yet. */
export const NEW_CHAT = "new";

export class Drafts {
  /** @type {string | null} */
  #userId = null;
  #visitors;

  /**
   * What a visitor types who has not signed in is kept for this tab and until it is closed.
   *
   * @param {LocalStore} storage
   */
  constructor(storage) {
    this.storage = storage;
    this.#visitors = new LocalStore(storage.prefix, () => sessionStorage);
  }

  /**
   * Keep the drafts of this account from now on, or with null a visitor's. Returns whether there
   * is a first message that was written before signing in; it is the account's now.
   *
   * @param {string | null} userId
   */
  open(userId) {
    this.#userId = null;
    const first = this.get(NEW_CHAT);
    if (!userId) return false;
    this.set(NEW_CHAT, null);
    this.#userId = userId;
    if (first) this.set(NEW_CHAT, first);
    return Boolean(first);
  }

  /**
   * @param {string} name
   * @returns {any} a text or an object; "" when nothing was typed
   */
  get(name) {
    return this.#place.get(this.#key(name)) ?? "";
  }

  /**
   * @param {string} name
   * @param {unknown} value
   */
  set(name, value) {
    if (!this.#userId && name !== NEW_CHAT) return;
    if (value === "" || value === null) this.#place.remove(this.#key(name));
    else this.#place.set(this.#key(name), value);
  }

  get #place() {
    return this.#userId ? this.storage : this.#visitors;
  }

  /** @param {string} name */
  #key(name) {
    return `draft:${this.#userId ?? "visitor"}:${name}`;
  }
}
