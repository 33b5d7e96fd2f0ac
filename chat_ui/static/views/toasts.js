/** Short messages about what has just happened; they go away by themselves. */

import { h } from "../dom.js";
import { icon } from "../icons.js";

const SHOWN = 5_000;
const SHOWN_ERROR = 10_000;

export class Toasts {
  constructor() {
    this.element = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
  }

  /**
   * @param {string} text
   * @param {{ error?: boolean }} [options]
   */
  show(text, { error = false } = {}) {
    const toast = h("div", { class: error ? "toast error" : "toast" }, icon(error ? "alert" : "check"), h("span", { dir: "auto" }, text));
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const leave = () => toast.remove();
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(leave, error ? SHOWN_ERROR : SHOWN);
    };
    toast.append(h("button", { type: "button", class: "icon-button small", "aria-label": "Dismiss", onclick: leave }, icon("close")));
    toast.addEventListener("pointerenter", () => clearTimeout(timer));
    toast.addEventListener("pointerleave", wait);
    toast.addEventListener("focusin", () => clearTimeout(timer));
    toast.addEventListener("focusout", wait);
    this.element.append(toast);
    while (this.element.children.length > 3) this.element.firstChild?.remove();
    wait();
  }
}
