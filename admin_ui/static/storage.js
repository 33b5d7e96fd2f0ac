/** What the browser keeps for us; in a browser that keeps nothing, this page alone. */

class Store {
  /** @type {Storage | null} */
  #kept = null;
  /** What the browser did not take: it keeps nothing, or is full. @type {Map<string, string>} */
  #own = new Map();

  /** @param {"localStorage" | "sessionStorage"} name */
  constructor(name) {
    try {
      // Null in some web views; reading it may already throw where a policy forbids it.
      this.#kept = window[name] ?? null;
    } catch {
      // The page's own memory has to do.
    }
  }

  /**
   * @param {string} key
   * @returns {string | null}
   */
  get(key) {
    return this.#own.get(key) ?? this.#ask((kept) => kept.getItem(key)) ?? null;
  }

  /**
   * @param {string} key
   * @param {unknown} value
   */
  set(key, value) {
    this.#own.delete(key);
    const text = String(value);
    if (!this.#ask((kept) => kept.setItem(key, text) ?? true)) this.#own.set(key, text);
  }

  /** @param {string} key */
  remove(key) {
    this.#own.delete(key);
    this.#ask((kept) => kept.removeItem(key));
  }

  /**
   * Return all keys that begin so.
   *
   * @param {string} beginning
   */
  keys(beginning) {
    const kept = this.#ask((all) => Object.keys(all)) ?? [];
    return [...new Set([...kept, ...this.#own.keys()])].filter((key) => key.startsWith(beginning));
  }

  /**
   * @template Result
   * @param {(kept: Storage) => Result} act
   * @returns {Result | null}
   */
  #ask(act) {
    try {
      return this.#kept && act(this.#kept);
    } catch {
      return null;
    }
  }
}

/** Kept until it is removed, for all tabs. */
export const local = new Store("localStorage");
/** Kept as long as this tab. */
export const tab = new Store("sessionStorage");
