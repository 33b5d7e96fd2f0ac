/** Where a message is written. Every keystroke is kept as a draft of its chat. */

/** @import { App } from "../../../web/types/chat.d.ts" */

import { h, isComposing } from "../dom.js";
import { icon } from "../icons.js";
import { length, tidy } from "../text.js";

const COUNTED_FROM = 0.9;

export class Composer {
  /** @type {string | null} */
  #chatId = null;

  /**
   * @param {App} app
   * @param {{ onsend: (text: string) => void }} options
   */
  constructor(app, { onsend }) {
    this.app = app;
    this.onsend = onsend;
    this.text = h("textarea", {
      class: "composer-text",
      id: "chat-composer",
      rows: 1,
      dir: "auto",
      enterkeyhint: "send",
      "aria-label": "Message",
      "aria-describedby": "chat-composer-hint chat-composer-count",
      placeholder: "Write a message…",
      oninput: () => this.#typed(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    });
    this.button = h("button", { type: "submit", class: "button primary send", title: "Send (Enter)", disabled: true }, icon("send"), h("span", { class: "send-label" }, "Send"));
    this.count = h("span", { class: "count", id: "chat-composer-count", role: "status" });
    this.element = h(
      "form",
      { class: "composer", "aria-label": "Write a message", onsubmit: (/** @type {SubmitEvent} */ event) => { event.preventDefault(); this.#send(); } },
      h("div", { class: "composer-box" }, this.text, this.button),
      h(
        "div",
        { class: "composer-foot" },
        h("span", { class: "hint", id: "chat-composer-hint" }, h("kbd", {}, "Enter"), " to send, ", h("kbd", {}, "Shift + Enter"), " for a new line"),
        this.count,
      ),
    );
    app.configLoaded.then(() => this.#show());
  }

  /**
   * Write to another chat, going on where its draft ended.
   *
   * @param {string} chatId
   */
  open(chatId) {
    this.#chatId = chatId;
    this.text.value = this.app.drafts.get(chatId);
    this.#show();
  }

  /**
   * Put text in, below what is already there.
   *
   * @param {string} text
   */
  insert(text) {
    this.text.value = [this.text.value.trimEnd(), text].filter(Boolean).join("\n");
    this.#changed();
    this.focus();
  }

  focus() {
    this.text.focus({ preventScroll: true });
    this.text.setSelectionRange(this.text.value.length, this.text.value.length);
  }

  #typed() {
    this.#changed();
    if (this.text.value.trim()) this.app.updates.types();
  }

  #changed() {
    this.app.drafts.set(this.#chatId ?? "", this.text.value);
    this.#show();
  }

  #show() {
    const limit = this.app.config.limits.message;
    const used = length(tidy(this.text.value));
    this.button.disabled = used === 0 || used > limit;
    this.count.textContent =
      used > limit
        ? `${(used - limit).toLocaleString()} characters too many`
        : used >= limit * COUNTED_FROM
          ? `${used.toLocaleString()} of ${limit.toLocaleString()}`
          : "";
    this.count.classList.toggle("over", used > limit);
    this.#grow();
  }

  #grow() {
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight}px`;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = tidy(this.text.value);
    if (this.button.disabled || !text) return;
    // The message is stored in the outbox before its draft is forgotten.
    this.onsend(text);
    this.text.value = "";
    this.#changed();
    this.text.focus({ preventScroll: true });
  }
}
