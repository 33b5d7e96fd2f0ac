/** The chat component: wires the session, the store, the updates and the views together. */

/** @import { ChatWithMessages, Config, User } from "../../web/types/api.d.ts" */
/** @import { BearerAuth as Bearer, CookieAuth as Cookie } from "./api.js" */
/** @import { SessionState } from "./session.js" */
/** @import { LocalStore } from "./storage.js" */

import { backoff } from "../../web/static/backoff.js";
import { Emitter } from "../../web/static/emitter.js";
import { Api } from "./api.js";
import { Connection } from "./connection.js";
import { activeElement, h } from "./dom.js";
import { Drafts } from "./drafts.js";
import { icon } from "./icons.js";
import { Outbox } from "./outbox.js";
import { Session } from "./session.js";
import { Store } from "./store.js";
import { Updates } from "./updates.js";
import { accountMenu } from "./views/account_menu.js";
import { Banner } from "./views/banner.js";
import { ChatList } from "./views/chat_list.js";
import { ConversationView } from "./views/conversation.js";
import { openDialog } from "./views/dialog.js";
import { newChat } from "./views/new_chat.js";
import { signIn, welcome } from "./views/sign_in.js";
import { confirmSignOut } from "./views/sign_out.js";
import { Toasts } from "./views/toasts.js";

export { BearerAuth, CookieAuth } from "./api.js";

/** Until the API has answered the server alone refuses what is too long. */
const UNKNOWN = { categories: [], limits: { message: Infinity, subject: Infinity, name: Infinity, passwordMin: 0 }, imageHosts: [] };
const ANNOUNCED = 10_000;
const A_MINUTE = 60_000;

/**
 * @typedef {object} AppOptions
 * @property {HTMLElement} root
 * @property {string} origin
 * @property {Bearer | Cookie} auth
 * @property {LocalStore} storage
 * @property {"page" | "widget"} mode
 * @property {boolean} mayHaveSession
 * @property {() => HTMLElement | null} [foldButton]
 */

/**
 * `mode` is "page" or "widget"; `foldButton` makes the widget's button that folds it.
 *
 * Emits "unread" (number) and "opened" (chat id or null). `requestedChat(user)` may be set: it
 * returns the chat to begin with, if that is this user's.
 */
export class ChatApp extends Emitter {
  isShown = true;
  /** May be set; see above. @type {((user?: User) => string | null) | null} */
  requestedChat = null;
  /** Until it is known who is here; the widget waits for it. @type {Promise<void> | undefined} */
  started;
  /** What the API says of categories, lengths and the hosts of pictures. @type {Config} */
  config = UNKNOWN;
  /** @type {(config: Config) => void} */
  #onConfig = () => undefined;
  /** The same, once the API has answered. @type {Promise<Config>} */
  configLoaded = new Promise((resolve) => {
    this.#onConfig = resolve;
  });
  /** What closes each dialog that is open. @type {Set<() => void>} */
  dialogs = new Set();
  /** The dialog that asks to sign in again. @type {{ close: () => void } | null} */
  #dialog = null;
  /** The chat to begin with, made right before its guest entered. @type {ChatWithMessages | null} */
  #first = null;
  #unread = -1;

  /** @param {AppOptions} options */
  constructor({ root, origin, auth, storage, mode, mayHaveSession, foldButton = () => null }) {
    super();
    this.root = root;
    this.mode = mode;
    this.storage = storage;
    this.foldButton = foldButton;
    this.mayHaveSession = mayHaveSession;
    this.api = new Api(origin, auth);
    this.connection = new Connection();
    this.session = new Session(this.api, storage, { cookie: mode === "page" });
    this.store = new Store();
    this.drafts = new Drafts(storage);
    this.outbox = new Outbox(this);
    this.updates = new Updates(this);
    this.toasts = new Toasts();
    this.banner = new Banner({ onSignIn: () => this.#askToSignInAgain() });
    this.list = new ChatList(this);
    this.conversation = new ConversationView(this);
    this.live = h("div", { class: "visually-hidden", role: "log", "aria-live": "polite", "aria-relevant": "additions" });
    this.account = h("div", { class: "account-slot" });
    this.top = h(
      "header",
      { class: "top" },
      h("span", { class: "brand" }, h("span", { class: "brand-mark", "aria-hidden": "true" }, icon("chat")), h("span", { class: "brand-name", "aria-hidden": "true" }, "Support chat")),
      this.account,
      this.foldButton() ?? "",
    );
    this.chats = h(
      "nav",
      { class: "chats", "aria-label": "Your chats" },
      h("div", { class: "chats-head" }, h("h2", {}, "Your chats"), h("button", { type: "button", class: "button primary", onclick: () => this.newChat() }, icon("plus"), "New chat")),
      this.list.element,
    );
    this.panes = h("div", { class: "panes", "data-pane": "list" }, this.chats, this.conversation.element);
    this.main = h("div", { class: "screen" }, this.#loading());
    // Outside the top bar, which is not there beside a conversation on a small screen.
    const heading = h("h1", { class: "visually-hidden" }, "Support chat");
    // Inside another page there is a main part already.
    const main = h(this.mode === "page" ? "main" : "div", { class: "main" }, heading, this.main);
    this.frame = h("div", { class: "frame" }, this.top, this.banner.element, main);
    this.root.classList.add("chat-app", `mode-${this.mode}`);
    this.root.replaceChildren(this.frame, this.toasts.element, this.live);
    this.#listen();
    this.#renderBanner();
  }

  get openId() {
    return this.conversation.chatId;
  }

  /** Find out who is here, then show what is theirs; keeps trying while there is no answer. */
  async start() {
    setInterval(() => this.#renderTimes(), A_MINUTE);
    // As it will be, so that nothing moves when it is known who is here.
    if (this.mode === "page" && this.mayHaveSession && this.requestedChat?.()) this.root.dataset.pane = "conversation";
    this.#untilAnswered(() => this.#loadConfig());
    await this.#untilAnswered(() => this.session.restore({ mayExist: this.mayHaveSession }));
  }

  /**
   * Show a chat.
   *
   * @param {string} chatId
   */
  openChat(chatId) {
    this.emit("opened", chatId);
    this.#show(chatId);
    this.conversation.focus();
  }

  /** Show the list; on a narrow screen it takes the conversation's place. */
  openList() {
    const left = this.openId;
    this.emit("opened", null);
    this.#show(null);
    this.list.focus(left);
  }

  /** Move the focus to where the reader goes on. */
  focus() {
    if (this.openId) this.conversation.focus();
    else /** @type {HTMLElement | null} */ (this.main.querySelector(".card h2, .chats .button"))?.focus({ preventScroll: true });
  }

  get #hasFocus() {
    return this.root.contains(activeElement(this.root));
  }

  /** Close the dialog that was opened last; false if there is none. */
  closeDialog() {
    const close = [...this.dialogs].at(-1);
    close?.();
    return close !== undefined;
  }

  /**
   * Enter as a guest whose first chat has just been made, and show it.
   *
   * @param {User} user
   * @param {ChatWithMessages} chat
   */
  enterWith(user, chat) {
    this.#first = chat;
    this.session.begin(user);
    this.toasts.show("Your chat has started.");
  }

  /** @param {{ message?: string }} [options] */
  newChat(options) {
    newChat(this, options);
  }

  async signOut() {
    const { user } = this.session;
    if (!(await confirmSignOut(this))) return;
    // The server ends the session before it responds, so the 401 of other requests is expected.
    this.updates.stop();
    this.outbox.pause();
    try {
      await this.session.leave();
      if (user?.role === "guest") this.#forgetTextsOf(user);
      this.toasts.show("You are signed out.");
    } catch (error) {
      this.toasts.show(/** @type {Error} */ (error).message, { error: true });
    }
    if (this.session.state === "signed-in" && this.session.user) this.#enter(this.session.user, true);
  }

  /**
   * A guest never comes back: what they wrote is not for those who use this browser next.
   *
   * @param {User} user
   */
  #forgetTextsOf({ _id }) {
    for (const start of [`draft:${_id}:`, `outbox:${_id}:`]) {
      for (const key of this.storage.keys(start)) this.storage.remove(key);
    }
  }

  /**
   * Say something to screen readers only.
   *
   * @param {string[]} texts
   */
  announce(texts) {
    const lines = texts.map((text) => h("p", {}, text));
    this.live.append(...lines);
    setTimeout(() => lines.forEach((line) => line.remove()), ANNOUNCED);
  }

  /**
   * The widget has been unfolded or folded.
   *
   * @param {boolean} shown
   */
  setShown(shown) {
    this.isShown = shown;
    this.updates.fold(!shown);
    if (shown) this.conversation.shown();
  }

  #listen() {
    const { api, connection, session, store, outbox, updates } = this;
    api.onContact = (contact) => connection.report(contact);
    connection.on("change", () => this.#renderBanner());
    connection.on("maybe", () => outbox.flush());
    connection.on("back", () => {
      outbox.flush();
      updates.resync();
      updates.live.check();
      this.conversation.retry();
    });
    session.on("change", (change) => this.#sessionChanged(change));
    session.on("user", () => this.account.replaceChildren(accountMenu(this)));
    updates.live.on("up", () => outbox.flush());
    updates.signals.on("change", () => this.conversation.renderSignals());
    store.on("chats", () => this.#countUnread());
    store.on("removed", (id) => {
      if (id !== this.openId || session.state !== "signed-in") return;
      this.toasts.show("This chat no longer exists.", { error: true });
      this.openList();
    });
    outbox.on("refused", ({ problem }) => this.toasts.show(`Your message was not sent. ${problem}`, { error: true }));
    outbox.on("behind", () => updates.refresh());
  }

  #loading() {
    // The page has had one turning since before this script came.
    const early = this.root.querySelector(".loading");
    early?.classList.add("still");
    return early ?? h("div", { class: "loading", role: "status" }, h("span", { class: "spinner large" }), spokenLoading());
  }

  /** @param {{ user: User | null, previous: User | null, state: SessionState }} change */
  #sessionChanged({ user, previous, state }) {
    if (state === "expired") {
      this.updates.stop();
      this.outbox.pause();
      this.#renderBanner();
      this.#askToSignInAgain();
      return;
    }
    const same = state === "signed-in" && previous?._id === user?._id;
    const hadFocus = this.#hasFocus;
    if (!same) this.#forgetEverything();
    // The URL of another user's chat is of no use to the next user.
    if (!same && previous) this.emit("opened", null);
    this.#dialogClosed();
    if (state === "signed-in" && user) this.#enter(user, same);
    else this.#leave();
    this.#renderBanner();
    // What had the focus is gone with the last screen; a page around must not get it.
    if (hadFocus && !this.#hasFocus) this.focus();
  }

  #forgetEverything() {
    this.updates.stop();
    this.updates.open(null);
    this.outbox.close();
    this.drafts.open(null);
    this.conversation.close();
    this.store.reset();
    for (const close of [...this.dialogs]) close();
  }

  /**
   * @param {User} user
   * @param {boolean} same
   */
  #enter(user, same) {
    if (user.role === "admin") {
      this.account.replaceChildren(accountMenu(this));
      this.main.replaceChildren(this.#agentNotice());
      return;
    }
    const first = this.#first;
    this.#first = null;
    const wroteBefore = this.drafts.open(user._id);
    this.outbox.open(user._id);
    if (!same) {
      this.account.replaceChildren(accountMenu(this));
      this.main.replaceChildren(this.panes);
      this.list.render();
      this.conversation.render();
      if (first) this.store.applyChat(first);
      if (first) this.openChat(first._id);
      else this.#show(this.requestedChat?.(user) ?? null);
    }
    this.updates.start();
    if (wroteBefore) this.newChat();
    if (same) this.updates.resync();
  }

  #leave() {
    this.account.replaceChildren();
    const page = welcome(this);
    this.main.replaceChildren(page);
    this.panes.dataset.pane = "list";
    this.root.dataset.pane = "list";
    this.#countUnread();
  }

  #agentNotice() {
    return h(
      "div",
      { class: "welcome" },
      h(
        "div",
        { class: "card" },
        h("h2", { tabindex: -1 }, "You are signed in as a support agent"),
        h("p", { class: "lead" }, "This page is for the people who write to you. Your chats are in the console."),
        h("a", { class: "button primary wide", href: `${this.api.origin}/admin` }, "Open the console"),
        h("button", { type: "button", class: "button wide", onclick: () => this.signOut() }, "Sign out"),
      ),
    );
  }

  /** @param {string | null} chatId */
  #show(chatId) {
    this.panes.dataset.pane = chatId ? "conversation" : "list";
    this.root.dataset.pane = this.panes.dataset.pane;
    this.conversation.open(chatId);
    this.updates.open(chatId);
    this.list.render();
  }

  /**
   * Follow the address, which the reader has changed.
   *
   * @param {string | null} chatId
   */
  follow(chatId) {
    if (this.session.state !== "signed-in" || chatId === this.openId) return;
    const left = this.openId;
    this.#show(chatId);
    if (chatId) this.conversation.focus();
    else this.list.focus(left);
  }

  #renderBanner() {
    const { state } = this.connection;
    this.banner.show(this.session.state === "expired" ? "expired" : state === "online" ? null : state);
  }

  /** "Today" becomes "Yesterday" without any news. */
  #renderTimes() {
    if (document.hidden || !this.panes.isConnected) return;
    this.list.render();
    this.conversation.render();
  }

  #countUnread() {
    const mine = this.session.user && this.session.user.role !== "admin";
    const unread = mine ? this.store.unread - this.conversation.beingRead : 0;
    if (unread === this.#unread) return;
    this.#unread = unread;
    this.emit("unread", unread);
  }

  #askToSignInAgain() {
    if (this.#dialog || this.session.state !== "expired") return;
    const { user } = this.session;
    if (!user) return;
    const guest = user.role === "guest";
    const text = guest
      ? "Your guest session is over, and with it your access to these chats. You can go on in a new chat; what you have not sent is its message."
      : "Your session has ended. Sign in again and go on where you were: what you wrote is still here.";
    const content = h(
      "div",
      { class: "again" },
      h("p", {}, text),
      signIn(this, { ways: guest ? ["guest", "login"] : ["login"], known: { name: user.name, email: user.email, message: guest ? this.#unsentText() : "" } }),
      h("button", { type: "button", class: "button wide", onclick: () => this.session.forget() }, guest ? "Leave" : "Use another account"),
    );
    this.#dialog = openDialog(this, {
      title: "Please sign in again",
      content,
      focus: () => content.querySelector("input[type=password]") ?? content.querySelector(".control"),
      onclose: () => { this.#dialog = null; },
    });
  }

  #dialogClosed() {
    this.#dialog?.close();
  }

  /** A guest cannot come back to their chats: what they wrote there goes into a new one. */
  #unsentText() {
    return [...this.outbox.entries(this.openId).map(({ content }) => content), this.openId && this.drafts.get(this.openId)].filter(Boolean).join("\n\n");
  }

  async #loadConfig() {
    const { data } = await this.api.get("/api/config");
    this.config = data;
    this.#onConfig(data);
  }

  /**
   * @template Result
   * @param {() => Promise<Result>} ask
   * @returns {Promise<Result>}
   */
  async #untilAnswered(ask) {
    for (let failures = 1; ; failures += 1) {
      try {
        return await ask();
      } catch (error) {
        const { retryAfter } = /** @type {{ retryAfter?: number | null }} */ (error);
        await this.#pause(backoff(failures, 1_000, { retryAfter }));
      }
    }
  }

  /**
   * Wait, but no longer than until the browser says that it is online again.
   *
   * @param {number} milliseconds
   * @returns {Promise<unknown>}
   */
  #pause(milliseconds) {
    return new Promise((resolve) => {
      setTimeout(resolve, milliseconds);
      window.addEventListener("online", resolve, { once: true });
    });
  }
}

function spokenLoading() {
  return h("span", { class: "visually-hidden" }, "Loading");
}
