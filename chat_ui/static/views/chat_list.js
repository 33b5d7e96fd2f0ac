/** The reader's chats, newest message first. */

/** @import { Chat } from "../../../web/types/api.d.ts" */
/** @import { App } from "../../../web/types/chat.d.ts" */

import { encode } from "../../../web/static/json.js";
import { activeElement, busy, h, spoken } from "../dom.js";
import { icon } from "../icons.js";
import { isOpen } from "../store.js";
import { capital } from "../text.js";
import { brief, timeElement } from "../time.js";
import { avatar } from "./avatar.js";

/**
 * What a chat's user has to know of its state: "Solved" is their own word for an open one.
 *
 * @param {Chat} chat
 */
export function stateChip(chat) {
  if (isOpen(chat) && chat.solvedAt) return h("span", { class: "chip solved" }, "Solved");
  return h("span", { class: `chip status-${chat.status}` }, capital(chat.status));
}

export class ChatList {
  /** By chat: its element, and what it was made of. @type {Map<string, { element: HTMLElement, signature: string }>} */
  #items = new Map();
  /** The chat that gets the focus when the list is there. @type {string | null} */
  #focusWhenLoaded = null;

  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.list = h("ul", { class: "chat-list", role: "list" });
    this.empty = h(
      "div",
      { class: "empty", hidden: true },
      h("span", { class: "mark", "aria-hidden": "true" }, icon("chat")),
      h("h2", {}, "No chats yet"),
      h("p", {}, "Tell us what you need: we are happy to help."),
      h("button", { type: "button", class: "button primary", onclick: () => app.newChat() }, icon("plus"), "Start a chat"),
    );
    this.skeleton = h(
      "div",
      { class: "skeleton-list", "aria-hidden": "true" },
      ...[1, 2, 3, 4].map(() => h("div", { class: "skeleton-row" }, h("span"), h("span"), h("span"))),
    );
    this.more = h("button", { type: "button", class: "button wide more", hidden: true, onclick: () => this.#loadMore() }, h("span", {}, "Show older chats"));
    this.element = h("div", { class: "chat-list-scroll" }, this.skeleton, this.list, this.empty, this.more);
    app.store.on("chats", () => this.render());
    app.outbox.on("change", () => this.render());
    app.session.on("change", () => this.#items.clear());
  }

  render() {
    const { store, openId } = this.app;
    // The open chat may be known before the list is: alone it would come and move away.
    this.skeleton.hidden = store.loaded;
    this.list.hidden = !store.loaded;
    this.empty.hidden = !store.loaded || store.chats.length > 0;
    this.more.hidden = !store.nextCursor;
    const elements = store.chats.map((chat) => this.#item(chat, chat._id === openId));
    // Touching only what moved keeps the focus and the scroll position.
    elements.forEach((element, i) => {
      if (this.list.children[i] !== element) this.list.insertBefore(element, this.list.children[i] ?? null);
    });
    while (this.list.children.length > elements.length) this.list.lastChild?.remove();
    if (this.#focusWhenLoaded && store.loaded) this.#focusLate(this.#focusWhenLoaded);
  }

  /**
   * Focus a chat's row; if the list is not loaded yet, as soon as it is.
   *
   * @param {string | null} chatId
   */
  focus(chatId) {
    this.#focusWhenLoaded = this.app.store.loaded ? null : chatId;
    /** @type {HTMLElement | null | undefined} */
    const link = this.#items.get(chatId ?? "")?.element.querySelector("a, button");
    link?.focus();
  }

  /**
   * Focus a chat's row, unless the reader has moved the focus or opened a chat since.
   *
   * @param {string} chatId
   */
  #focusLate(chatId) {
    const active = activeElement(this.list);
    if (!this.app.openId && (!active || active === document.body)) this.focus(chatId);
    else this.#focusWhenLoaded = null;
  }

  /**
   * @param {Chat} chat
   * @param {boolean} current
   */
  #item(chat, current) {
    const { outbox, mode } = this.app;
    const unsent = outbox.entries(chat._id).filter(({ state }) => state !== "sent");
    const signature = encode([chat, current, current && this.app.conversation.beingRead, unsent.map(({ state }) => state), new Date().toDateString()]);
    const known = this.#items.get(chat._id);
    if (known?.signature === signature) return known.element;

    const last = chat.lastMessage;
    const mine = last && (last.senderRole === "user" || last.senderRole === "guest");
    const unread = chat.unreadCount > 0 && !(current && this.app.conversation.beingRead > 0);
    const sender = last && last.senderRole !== "system" ? h("span", { class: "preview-sender" }, ...(mine ? ["You: "] : [h("bdi", {}, last.senderName), ": "])) : null;
    const preview = unsent.some(({ state }) => state === "refused")
      ? h("span", { class: "preview not-sent" }, "Message not sent")
      : h("span", { class: "preview" }, sender, last ? h("bdi", {}, last.content) : "No messages yet");

    const content = [
      avatar(chat.adminName ?? "Support", chat.adminImage, this.app),
      h(
        "span",
        { class: "chat-text" },
        h("span", { class: "chat-line" }, h("span", { class: "subject", dir: "auto" }, chat.subject), timeElement(chat.lastMessageAt, brief)),
        h("span", { class: "chat-line" }, preview, unread ? h("span", { class: "badge" }, String(chat.unreadCount), spoken(" unread")) : null),
        h("span", { class: "chat-line" }, stateChip(chat), h("span", { class: "quiet-text" }, ...(chat.adminName ? ["with ", h("bdi", {}, chat.adminName)] : [capital(chat.category)]))),
      ),
    ];
    const attributes = { class: unread ? "chat-item unread" : "chat-item", "aria-current": current ? "true" : null };
    const link =
      mode === "page"
        ? h("a", { ...attributes, href: `#chat/${chat._id}` }, content)
        : h("button", { ...attributes, type: "button", onclick: () => this.app.openChat(chat._id) }, content);

    const element = known?.element ?? h("li");
    const hadFocus = element.contains(activeElement(element));
    element.replaceChildren(link);
    if (hadFocus) link.focus({ preventScroll: true });
    this.#items.set(chat._id, { element, signature });
    return element;
  }

  async #loadMore() {
    try {
      await busy(this.more, () => this.app.updates.loadMoreChats());
    } catch (error) {
      this.app.toasts.show(/** @type {Error} */ (error).message, { error: true });
    }
  }
}
