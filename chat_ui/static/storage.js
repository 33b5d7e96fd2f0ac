/** localStorage or sessionStorage that never throws: a blocked or full one is replaced by memory. */

import { encode } from "../../web/static/json.js";

export class LocalStore {
  #memory = new Map();
  #area;

  /**
   * All keys of one LocalStore begin with `prefix`, so that two never meet. `area` returns the
   * browser's storage: asking for it may throw as well.
   *
   * @param {string} prefix
   * @param {() => Storage} area
   */
  constructor(prefix, area = () => localStorage) {
    this.prefix = prefix;
    this.#area = area;
  }

  /** @param {string} key */
  get(key) {
    const name = this.prefix + key;
    if (this.#memory.has(name)) return this.#memory.get(name);
    try {
      return JSON.parse(this.#area().getItem(name) ?? "null");
    } catch {
      return null;
    }
  }

  /**
   * @param {string} key
   * @param {unknown} value
   */
  set(key, value) {
    const name = this.prefix + key;
    try {
      this.#area().setItem(name, encode(value));
      this.#memory.delete(name);
    } catch {
      this.#memory.set(name, value);
    }
  }

  /** @param {string} key */
  remove(key) {
    const name = this.prefix + key;
    this.#memory.delete(name);
    try {
      this.#area().removeItem(name);
    } catch {
      // A storage that cannot be written has nothing to remove.
    }
  }

  /**
   * The keys that begin with `start`, without the store's own prefix.
   *
   * @param {string} start
   */
  keys(start = "") {
    const names = new Set(this.#memory.keys());
    try {
      for (let i = 0; i < this.#area().length; i += 1) names.add(this.#area().key(i));
    } catch {
      // Only memory is left.
    }
    const wanted = this.prefix + start;
    return [...names].filter((name) => name.startsWith(wanted)).map((name) => name.slice(this.prefix.length));
  }

  /**
   * Call `listener(key)` when another tab changes something here.
   *
   * @param {(key: string) => void} listener
   */
  onChange(listener) {
    const heard = (/** @type {StorageEvent} */ event) => {
      if (event.key?.startsWith(this.prefix)) listener(event.key.slice(this.prefix.length));
    };
    window.addEventListener("storage", heard);
    return () => window.removeEventListener("storage", heard);
  }
}
