/** Says that the chat is cut off, why, and what happens to what is written meanwhile. */

import { h } from "../dom.js";
import { icon } from "../icons.js";

/** @type {Record<string, string>} */
const TEXTS = {
  offline: "You are offline. What you write is kept and sent as soon as the connection is back.",
  unavailable: "The service is temporarily unavailable. What you write is kept; we keep trying.",
  expired: "You have been signed out. What you wrote is kept on this device.",
};

export class Banner {
  /** @param {{ onSignIn: () => void }} options */
  constructor({ onSignIn }) {
    this.element = h("div", { class: "banner", role: "status", hidden: true });
    this.onSignIn = onSignIn;
    /** @type {string | null} */
    this.kind = null;
  }

  /**
   * Show "offline", "unavailable" or "expired"; null hides.
   *
   * @param {string | null} kind
   */
  show(kind) {
    if (kind === this.kind) return;
    this.kind = kind;
    this.element.hidden = !kind;
    this.element.dataset.kind = kind ?? "";
    this.element.replaceChildren(
      ...(kind ? [icon(kind === "offline" ? "offline" : kind === "expired" ? "lock" : "alert"), h("span", {}, TEXTS[kind])] : []),
    );
    if (kind === "expired") {
      this.element.append(h("button", { type: "button", class: "button quiet", onclick: this.onSignIn }, "Sign in"));
    }
  }
}
