/** The head of a conversation: its subject, its state, and who answers. */

/** @import { Chat } from "../../../web/types/api.d.ts" */
/** @import { App } from "../../../web/types/chat.d.ts" */

import { encode } from "../../../web/static/json.js";
import { activeElement, busy, h } from "../dom.js";
import { icon } from "../icons.js";
import { isOpen } from "../store.js";
import { capital, list } from "../text.js";
import { avatar } from "./avatar.js";
import { stateChip } from "./chat_list.js";

export class ConversationHeader {
  /**
   * `onsolved` is called when the chat that is open has been marked as solved.
   *
   * @param {App} app
   * @param {{ onsolved: () => void }} options
   */
  constructor(app, { onsolved }) {
    this.app = app;
    this.onsolved = onsolved;
    this.element = h("header", { class: "conversation-head" });
  }

  clear() {
    this.element.replaceChildren();
    this.element.dataset.signature = "";
  }

  focus() {
    this.element.querySelector("h2")?.focus({ preventScroll: true });
  }

  /**
   * Show the chat, unless nothing of this has changed.
   *
   * @param {Chat} chat
   */
  render(chat) {
    const { here } = this.app.updates.signals;
    const signature = encode([chat.subject, chat.status, Boolean(chat.solvedAt), chat.category, chat.adminName, chat.adminImage, here]);
    if (this.element.dataset.signature === signature) return;
    this.element.dataset.signature = signature;
    const hadFocus = this.element.contains(activeElement(this.element));
    this.element.replaceChildren(
      h("button", { type: "button", class: "icon-button back", "aria-label": "Back to your chats", title: "Back", onclick: () => this.app.openList() }, icon("back")),
      avatar(chat.adminName ?? "Support", chat.adminImage, this.app),
      h(
        "div",
        { class: "conversation-title" },
        h("h2", { dir: "auto", tabindex: -1, title: chat.subject }, chat.subject),
        h(
          "p",
          {},
          stateChip(chat),
          here.length > 0
            ? h("span", { class: "here", title: list(here) }, h("bdi", {}, list(here)), h("span", { class: "here-from" }, " from support"), ` ${here.length > 1 ? "are" : "is"} here`)
            : h("span", { class: "quiet-text" }, ...(chat.adminName ? ["with ", h("bdi", {}, chat.adminName)] : ["Support team"]), ` · ${capital(chat.category)}`),
        ),
      ),
      isOpen(chat) && !chat.solvedAt ? this.#solvedButton(chat) : "",
      this.app.foldButton() ?? "",
    );
    if (hadFocus) this.focus();
  }

  /** @param {Chat} chat */
  #solvedButton(chat) {
    const button = h("button", { type: "button", class: "button solve", title: "This is solved", onclick: () => busy(button, () => this.#markSolved(chat)) }, icon("check"), h("span", { class: "solve-label" }, "This is solved"));
    return button;
  }

  /** @param {Chat} chat */
  async #markSolved({ _id: chatId }) {
    try {
      await this.app.updates.markSolved(chatId);
      this.app.toasts.show("Marked as solved. If it is not, just write again.");
      if (chatId === this.app.openId) this.onsolved();
    } catch (error) {
      this.app.toasts.show(/** @type {Error} */ (error).message, { error: true });
    }
  }
}
