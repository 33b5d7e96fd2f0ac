/** One chat: which part of it is in sight, what is unread in it, and where to write or why not. */

/** @import { Chat, Message } from "../../../web/types/api.d.ts" */
/** @import { App, Item } from "../../../web/types/chat.d.ts" */
/** @import { Conversation, Store } from "../store.js" */

import { activeElement, h, spoken } from "../dom.js";
import { icon } from "../icons.js";
import { isOpen, isOwn, lastSeq } from "../store.js";
import { list, plural } from "../text.js";
import { Composer } from "./composer.js";
import { ConversationHeader } from "./conversation_header.js";
import { MessageList } from "./message_list.js";

/** Within so many pixels of its end a conversation counts as read to the end. */
const AT_BOTTOM = 48;
const LOAD_AHEAD = "600px";

export class ConversationView {
  /** @type {string | null} */
  chatId = null;
  /** True while the view should stay at its end when content grows. */
  #stick = true;
  /** How far down the view was when it was last at its end. */
  #end = 0;
  /** The number of the first message that was unread, or 0. @type {number | null} */
  #unreadFrom = null;
  /** @type {number | null} */
  #oldest = null;
  #newBelow = 0;
  #loadingOlder = false;
  #olderFailed = false;
  #marking = false;
  /** True once the server knows that everything before the reader's eyes has been read. */
  #caughtUp = false;

  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.composer = new Composer(app, { onsend: (text) => this.#send(text) });
    this.header = new ConversationHeader(app, { onsolved: () => this.focus() });
    this.older = h("div", { class: "older" });
    this.list = new MessageList(app, {
      retry: (id) => app.outbox.retry(id),
      edit: (item) => this.#edit(item),
      discard: (id) => this.#discard(id),
    });
    this.inner = h("div", { class: "messages-inner" }, this.older, this.list.element);
    this.scroller = h("div", { class: "messages-scroll", tabindex: 0, role: "region", "aria-label": "Conversation", onscroll: () => this.#scrolled() }, this.inner);
    this.jump = h("button", { type: "button", class: "jump", hidden: true, onclick: () => this.#toBottom({ smooth: true }) });
    this.skeleton = h("div", { class: "skeleton-messages", "aria-hidden": "true" }, ...[1, 2, 3, 4, 5].map(() => h("span")));
    this.typing = h("p", { class: "typing", role: "status" });
    this.footer = h("div", { class: "conversation-foot" });
    this.placeholder = h("div", { class: "placeholder" });
    this.body = h("div", { class: "conversation-body" }, this.skeleton, this.scroller, this.jump);
    this.element = h("section", { class: "conversation", "aria-label": "Chat" }, this.placeholder, this.header.element, this.body, this.typing, this.footer);

    this.observer = new IntersectionObserver((entries) => entries.at(-1)?.isIntersecting && this.#loadOlder(), { root: this.scroller, rootMargin: `${LOAD_AHEAD} 0px 0px 0px` });
    this.observer.observe(this.older);
    const resized = new ResizeObserver(() => this.#resized());
    resized.observe(this.scroller);
    resized.observe(this.inner);

    app.store.on("chat", (id) => id === this.chatId && this.render());
    app.store.on("chats", () => this.#renderFrame());
    app.store.on("messages", ({ chatId, added }) => chatId === this.chatId && this.#received(added));
    app.outbox.on("change", (chatId) => chatId === this.chatId && this.render());
    document.addEventListener("visibilitychange", () => this.#markRead());
  }

  /**
   * Show a chat, or with null the placeholder.
   *
   * @param {string | null} chatId
   */
  open(chatId) {
    if (chatId === this.chatId) return;
    this.chatId = chatId;
    this.#stick = true;
    this.#end = 0;
    this.#unreadFrom = null;
    this.#oldest = null;
    this.#newBelow = 0;
    this.#olderFailed = false;
    this.#caughtUp = false;
    this.list.clear();
    this.footer.replaceChildren();
    this.footer.dataset.kind = "";
    this.header.clear();
    if (chatId) this.composer.open(chatId);
    this.render();
  }

  render() {
    this.#renderFrame();
    if (!this.chatId) return;
    const conversation = this.app.store.conversation(this.chatId);
    this.skeleton.hidden = conversation.loaded;
    this.scroller.hidden = !conversation.loaded;
    if (!conversation.loaded) return;
    this.#noticeUnread(conversation);
    // Measured right before the change: the reader may have scrolled since the last event.
    this.#noticeLeaving();
    const grewAbove = this.#oldest !== null && Number(conversation.oldest) < this.#oldest;
    const fromEnd = grewAbove ? this.scroller.scrollHeight - this.scroller.scrollTop : 0;
    this.#oldest = conversation.oldest;
    this.list.render(conversation, { chatId: this.chatId, unreadFrom: this.#unreadFrom });
    this.#renderOlder(conversation);
    if (this.#stick) this.#toBottom();
    else if (grewAbove) this.scroller.scrollTop = this.scroller.scrollHeight - fromEnd;
    this.#renderJump();
    this.#markRead();
  }

  /**
   * How many messages count as unread only until the server knows better: they came in while
   * the reader was looking. Showing them as unread would be a flicker.
   */
  get beingRead() {
    const chat = this.#caughtUp && this.#chat;
    return chat && this.#looking && this.app.store.conversation(chat._id).newest >= lastSeq(chat) ? chat.unreadCount : 0;
  }

  /** Show who types, and who of support is here. */
  renderSignals() {
    const chat = this.#chat;
    const { typing } = this.app.updates.signals;
    const names = typing.length > 0 ? list(typing) : "";
    if (this.typing.dataset.names !== names) {
      this.typing.dataset.names = names;
      this.typing.replaceChildren(
        ...(names ? [h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")), h("span", { class: "typing-text" }, h("bdi", {}, names), ` ${typing.length > 1 ? "are" : "is"} typing…`)] : []),
      );
    }
    if (chat) this.header.render(chat);
  }

  /** Contact is back: what failed for the lack of it is tried again. */
  retry() {
    if (this.#olderFailed) this.#loadOlder({ again: true });
  }

  /** Forget everything, as after signing out. */
  close() {
    this.open(null);
  }

  focus() {
    if (this.composer.element.isConnected && matchMedia("(pointer: fine)").matches) this.composer.focus();
    else this.header.focus();
  }

  // The frame: header, footer, placeholder

  #renderFrame() {
    const { store } = this.app;
    this.element.classList.toggle("is-empty", !this.chatId);
    if (!this.chatId) {
      this.#renderPlaceholder(store);
      return;
    }
    const chat = store.chat(this.chatId);
    if (!chat) return;
    this.header.render(chat);
    this.#renderFooter(chat);
  }

  /** @param {Store} store */
  #renderPlaceholder(store) {
    const kind = store.loaded ? (store.chats.length > 0 ? "choose" : "first") : "loading";
    if (this.placeholder.dataset.kind === kind) return;
    this.placeholder.dataset.kind = kind;
    if (kind === "loading") {
      this.placeholder.replaceChildren();
      return;
    }
    this.placeholder.replaceChildren(
      h("span", { class: "mark", "aria-hidden": "true" }, icon("chat")),
      h("h2", {}, kind === "first" ? "How can we help?" : "Choose a chat"),
      h("p", {}, kind === "first" ? "Start a chat: our team will answer you here." : "Pick one from the list, or start a new one."),
      ...(kind === "first" ? [h("button", { type: "button", class: "button primary", onclick: () => this.app.newChat() }, icon("plus"), "Start a chat")] : []),
    );
  }

  /** @param {Chat} chat */
  #renderFooter(chat) {
    const open = isOpen(chat);
    this.typing.hidden = !open;
    const kind = open ? "composer" : chat.status;
    if (this.footer.dataset.kind === kind) return;
    const hadFocus = this.footer.contains(activeElement(this.footer));
    const reopened = open && this.footer.dataset.kind;
    this.footer.dataset.kind = kind;
    this.footer.replaceChildren(open ? this.composer.element : this.#closedNotice(chat));
    if (open) this.composer.open(chat._id);
    if (reopened) this.app.toasts.show("This chat was reopened.");
    if (hadFocus) (open ? this.composer.text : this.footer.querySelector("button"))?.focus({ preventScroll: true });
  }

  /** @param {Chat} chat */
  #closedNotice(chat) {
    const draft = this.app.drafts.get(chat._id);
    const startNew = () => this.app.newChat({ message: this.app.drafts.get(chat._id) || undefined });
    return h(
      "div",
      { class: "closed-notice" },
      h("p", {}, icon("lock"), h("span", {}, h("strong", {}, `This chat is ${chat.status}.`), " You can read it, but nothing can be added to it.")),
      draft ? h("blockquote", { class: "kept-draft" }, spoken("Your unsent text: "), h("span", { dir: "auto" }, draft)) : null,
      h("button", { type: "button", class: "button primary", onclick: startNew }, icon("plus"), draft ? "Start a new chat with this text" : "Start a new chat"),
    );
  }

  // The messages

  /**
   * Remember where the unread messages begin, as it was when the chat was opened.
   *
   * @param {Conversation} conversation
   */
  #noticeUnread(conversation) {
    if (this.#unreadFrom !== null) return;
    const unread = (this.chatId && this.app.store.chat(this.chatId)?.unreadCount) || 0;
    const theirs = conversation.messages.filter((message) => !isOwn(message));
    this.#unreadFrom = (unread > 0 && unread <= theirs.length && theirs.at(-unread)?.seq) || 0;
    // A line above the very first message would part it from nothing.
    if (this.#unreadFrom === conversation.oldest) this.#unreadFrom = 0;
  }

  /** @param {Conversation} conversation */
  #renderOlder(conversation) {
    const kind = conversation.hasOlder ? (this.#olderFailed ? "failed" : "more") : "start";
    if (this.older.dataset.kind === kind) return;
    this.older.dataset.kind = kind;
    this.older.replaceChildren(
      {
        more: h("span", { class: "spinner", role: "status" }, spoken("Loading older messages")),
        failed: h("button", { type: "button", class: "link", onclick: () => this.#loadOlder({ again: true }) }, "Older messages could not be loaded. Try again"),
        start: h("span", {}, "This is the beginning of your chat."),
      }[kind],
    );
  }

  async #loadOlder({ again = false } = {}) {
    const { chatId } = this;
    if (!chatId) return;
    const conversation = this.app.store.conversation(chatId);
    if (!conversation.hasOlder || this.#loadingOlder || (this.#olderFailed && !again)) return;
    this.#loadingOlder = true;
    this.#olderFailed = false;
    this.#renderOlder(conversation);
    try {
      await this.app.updates.loadOlder(chatId);
    } catch {
      if (chatId === this.chatId) {
        this.#olderFailed = true;
        this.#renderOlder(conversation);
      }
    } finally {
      this.#loadingOlder = false;
    }
    // The observer only speaks up when the top comes into reach, not while it stays there.
    this.observer.unobserve(this.older);
    this.observer.observe(this.older);
  }

  /** @param {Message[]} added */
  #received(added) {
    const theirs = added.filter((message) => !isOwn(message));
    if (theirs.length > 0) {
      if (!this.#stick) this.#newBelow += theirs.length;
      // Messages that arrive while the page is hidden start at a separator, unless there is one.
      if (!this.#looking && !this.#unreadFrom) this.#unreadFrom = theirs[0].seq;
      this.app.announce(theirs.map(({ senderName, content }) => `${senderName}: ${content}`));
    }
    this.render();
  }

  /** @param {string} text */
  #send(text) {
    this.#stick = true;
    this.#end = 0;
    this.#unreadFrom = 0;
    if (this.chatId) this.app.outbox.add(this.chatId, text);
    this.#toBottom();
  }

  /** @param {Item} item */
  #edit({ id, content }) {
    const chat = this.#chat;
    if (id) this.app.outbox.discard(id);
    if (chat && isOpen(chat)) {
      this.composer.insert(content);
    } else {
      this.app.newChat({ message: content });
    }
  }

  /** @param {string} id */
  #discard(id) {
    this.app.outbox.discard(id);
    this.app.toasts.show("The message was deleted.");
    this.focus();
  }

  get #chat() {
    return this.chatId === null ? null : this.app.store.chat(this.chatId);
  }

  // Scrolling and reading

  get #atBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < AT_BOTTOM;
  }

  /** Whether the reader has the end of the conversation before their eyes. */
  get #looking() {
    return !document.hidden && this.app.isShown && this.#stick && this.scroller.clientHeight > 0;
  }

  #scrolled() {
    this.#stick = this.#atBottom;
    if (this.#stick) {
      this.#newBelow = 0;
      this.#end = this.scroller.scrollTop;
    }
    this.#renderJump();
    this.#markRead();
  }

  /** Growing content does not move the view: if it is further up, the reader has scrolled. */
  #noticeLeaving() {
    const { clientHeight, scrollTop } = this.scroller;
    // What is not shown has lost its place.
    if (clientHeight === 0) this.#end = 0;
    if (scrollTop < this.#end - AT_BOTTOM && !this.#atBottom) this.#stick = false;
  }

  #resized() {
    this.#noticeLeaving();
    this.list.resized();
    if (this.#stick) this.#toBottom();
  }

  #toBottom({ smooth = false } = {}) {
    const gently = smooth && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.scroller.scroll({ top: this.scroller.scrollHeight, behavior: gently ? "smooth" : "instant" });
    this.#end = this.scroller.scrollTop;
  }

  #renderJump() {
    this.jump.hidden = this.#stick || !this.chatId;
    const text = this.#newBelow > 0 ? plural(this.#newBelow, "new message") : "Newest";
    if (!this.jump.hidden && this.jump.textContent !== text) this.jump.replaceChildren(icon("down"), h("span", {}, text));
  }

  /** The reader has come back to the conversation, for example by unfolding the widget. */
  shown() {
    if (this.#stick) this.#toBottom();
    this.#markRead();
  }

  async #markRead() {
    const chat = this.#chat;
    if (!this.#looking) this.#caughtUp = false;
    else if (chat?.unreadCount === 0) this.#caughtUp = true;
    if (!this.chatId || !chat || chat.unreadCount === 0 || this.#marking || !this.#looking || this.app.session.state !== "signed-in") return;
    const seq = this.app.store.conversation(this.chatId).newest;
    // The list may know of messages that the conversation does not show yet.
    if (seq === 0 || seq < lastSeq(chat)) return;
    this.#marking = true;
    try {
      await this.app.updates.markRead(this.chatId, seq);
    } catch {
      // The next update tries again.
    } finally {
      this.#marking = false;
    }
  }
}
