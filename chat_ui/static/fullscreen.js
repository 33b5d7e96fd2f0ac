/**
 * The chat over the whole of a small screen: the page below stands still, and Back folds the
 * chat. The entry in the history has the page's own address and state. Moving between the two
 * is kept from the page's listeners that were added after the loader's; the others hear of a
 * step to where the page is.
 */

const KEY = "live-chat-widget";

export class Fullscreen {
  isOn = false;
  #address = "";
  #returning = false;
  /** The page's own overflow: value and priority. */
  #overflow = ["", ""];

  /** @param {{ onback: () => void, onforward: () => void }} options */
  constructor({ onback, onforward }) {
    this.onback = onback;
    this.onforward = onforward;
  }

  enter() {
    if (this.isOn) return;
    this.isOn = true;
    this.#address = location.href;
    this.#lockScroll();
    // A reload comes back to the entry that is there already.
    if (!isOurs(history.state)) change("pushState", { ...asObject(history.state), [KEY]: true });
  }

  /**
   * `back`: take the entry out of the history; else, because the page may be about to navigate, only make it the page's.
   *
   * @param {{ back: boolean }} options
   */
  leave({ back }) {
    if (!this.isOn) return;
    this.isOn = false;
    this.#unlockScroll();
    if (!isOurs(history.state)) return;
    if (back) {
      this.#returning = true;
      history.back();
      return;
    }
    const state = { ...history.state };
    delete state[KEY];
    change("replaceState", state);
  }

  /**
   * Called by the loader at each "popstate".
   *
   * @param {PopStateEvent} event
   */
  moved(event) {
    const ours = isOurs(event.state);
    const isOwnMove = this.#returning || ours || (this.isOn && location.href === this.#address);
    if (isOwnMove) event.stopImmediatePropagation();
    if (this.#returning) {
      this.#returning = false;
      // Opened again before the browser had gone back.
      if (this.isOn && !ours) change("pushState", { ...asObject(history.state), [KEY]: true });
    } else if (this.isOn && !ours) {
      this.isOn = false;
      this.#unlockScroll();
      this.onback();
    } else if (ours && !this.isOn) {
      this.onforward();
    }
  }

  #lockScroll() {
    const { style } = document.documentElement;
    this.#overflow = [style.getPropertyValue("overflow"), style.getPropertyPriority("overflow")];
    style.setProperty("overflow", "hidden", "important");
  }

  #unlockScroll() {
    const { style } = document.documentElement;
    const [value, priority] = this.#overflow;
    if (value) style.setProperty("overflow", value, priority);
    else style.removeProperty("overflow");
  }
}

/** @param {any} state */
function isOurs(state) {
  return state?.[KEY] === true;
}

/** @param {any} state */
function asObject(state) {
  return typeof state === "object" && !Array.isArray(state) ? state : null;
}

/**
 * Routers and statistics put their own functions in place of the history's.
 *
 * @param {"pushState" | "replaceState"} method
 * @param {object | null} state
 */
function change(method, state) {
  History.prototype[method].call(history, state, "");
}
