/** The widget's element in a page that another script may change at any time. */

/** @type {("keydown" | "keypress" | "keyup")[]} */
const KEYS = ["keydown", "keypress", "keyup"];
/** Events inside the widget that a page's own listeners would take for theirs. */
const OURS = ["paste", "copy", "cut", "beforeinput", "input", "focusin", "focusout", "wheel", "touchmove"];
const MAX_REPAIRS = 5;
const REPAIR_WINDOW = 10_000;

/**
 * Keep the element in the document.
 *
 * It stands beside `<body>`: pages swap their body (Turbo, Astro, htmx), and a filter or
 * transform on it would move fixed elements inside. A page that removes the element again
 * and again wins until `attach` is called.
 */
export class Host {
  /** When the element was put back. @type {number[]} */
  #repairs = [];
  /** @type {ReturnType<typeof setTimeout> | null} */
  #timer = null;
  #observer = new MutationObserver(() => this.#changed());

  /**
   * @param {HTMLElement} element
   * @param {ShadowRoot} shadow
   * @param {{ onattach: () => void }} options
   */
  constructor(element, shadow, { onattach }) {
    this.element = element;
    this.shadow = shadow;
    this.onattach = onattach;
    for (const name of OURS) shadow.addEventListener(name, (event) => event.stopPropagation(), { passive: true });
  }

  attach() {
    if (this.element.isConnected || !document.documentElement) return;
    document.documentElement.append(this.element);
    // Of the document as well: a page may replace its <html>.
    this.#observer.observe(document, { childList: true });
    this.#observer.observe(document.documentElement, { childList: true });
    for (const name of KEYS) window.addEventListener(name, this.#shield, true);
    this.onattach();
  }

  #changed() {
    if (this.element.isConnected || this.#timer !== null) return;
    const now = Date.now();
    this.#repairs = this.#repairs.filter((at) => now - at < REPAIR_WINDOW);
    if (this.#repairs.length >= MAX_REPAIRS) return;
    this.#repairs.push(now);
    // Not at once: the page may be in the middle of its change.
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.attach();
    });
  }

  /**
   * Keep what is typed here from the page's shortcuts.
   *
   * Outside the shadow tree a key's target is the widget's element, which is no field: a page
   * that listens while capturing would take the letters. So the event ends at the window, and
   * a copy of it goes to the field; what the browser does with the key is not affected.
   */
  #shield = (/** @type {KeyboardEvent} */ event) => {
    const path = event.composedPath();
    if (!path.includes(this.shadow)) return;
    event.stopImmediatePropagation();
    const { key, code, location, ctrlKey, shiftKey, altKey, metaKey, repeat, isComposing, keyCode } = event;
    const copy = new KeyboardEvent(event.type, {
      bubbles: true, cancelable: true, composed: false, view: window,
      key, code, location, ctrlKey, shiftKey, altKey, metaKey, repeat, isComposing, keyCode,
    });
    path[0].dispatchEvent(copy);
    if (copy.defaultPrevented) event.preventDefault();
  };
}
