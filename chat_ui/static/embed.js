/** The widget: a round button on any page that unfolds the chat, sealed in a shadow tree. */

/** @import { ChatApp } from "./app.js" */

import { encode } from "../../web/static/json.js";
import { h, isComposing, spoken } from "./dom.js";
import { Fullscreen } from "./fullscreen.js";
import { Host } from "./host.js";
import { icon } from "./icons.js";
import { LocalStore } from "./storage.js";

const HOST = "live-chat-widget";
/** As in widget.css: here the chat takes the whole window. */
const SMALL = "(max-width: 480px), (max-height: 480px)";

/** @typedef {{ position?: string, label?: string }} WidgetOptions */

/**
 * Put the widget into the page and return it. `options`: the attributes of its script, or null.
 *
 * @param {WidgetOptions | null} options
 */
export async function embed(options) {
  const { origin } = new URL(import.meta.url);
  const sheet = await styleSheet("widget.css");
  const { position = "right", label = "" } = options ?? scriptOptions(origin);
  const widget = new Widget({ origin, position, label, sheet });
  widget.attach();
  await widget.start();
  return widget;
}

/**
 * The attributes of the script element that names the loader, when the loader could not tell which.
 *
 * @param {string} origin
 * @returns {WidgetOptions}
 */
function scriptOptions(origin) {
  /** @type {NodeListOf<HTMLScriptElement>} */
  const scripts = document.querySelectorAll("script[src]");
  for (const { src, dataset } of scripts) {
    if (src.startsWith(`${origin}/`) && new URL(src).pathname.endsWith("/widget.js")) return dataset;
  }
  return {};
}

/**
 * A constructed sheet works where the page's Content-Security-Policy forbids inline styles.
 *
 * @param {string} name
 */
async function styleSheet(name) {
  const response = await fetch(new URL(name, import.meta.url), { credentials: "omit" });
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(await response.text());
  return sheet;
}

class Widget {
  isOpen = false;
  /** @type {ChatApp | null} */
  #app = null;
  /** @type {Promise<ChatApp> | null} */
  #loading = null;
  /** What had the focus when the chat was unfolded. @type {HTMLElement | null} */
  #opener = null;
  #small = matchMedia(SMALL);
  #fullscreen = new Fullscreen({ onback: () => this.close(), onforward: () => this.open() });

  /** @param {{ origin: string, position: string, label: string, sheet: CSSStyleSheet }} options */
  constructor({ origin, position, label, sheet }) {
    this.origin = origin;
    this.label = label || "Support chat";
    this.storage = new LocalStore(`livechat:${origin}:`);
    this.badge = h("span", { class: "badge", hidden: true });
    this.launcher = h(
      "button",
      { type: "button", class: label ? "launcher labelled" : "launcher", "aria-expanded": "false", "aria-controls": "chat-panel", onclick: () => (this.isOpen ? this.#fold() : this.open()) },
      h("span", { class: "launcher-icon open-icon" }, icon("chat")),
      h("span", { class: "launcher-icon close-icon" }, icon("fold")),
      label ? h("span", { class: "launcher-label" }, label) : spoken("Support chat"),
      this.badge,
    );
    this.root = h("div", { class: "widget-root" });
    this.panel = h("dialog", { class: "panel", id: "chat-panel", "aria-label": this.label, tabIndex: -1 }, this.root);
    // The page around may be written from right to left, or in another language.
    this.element = h("div", { class: position === "left" ? "widget left" : "widget", dir: "ltr", lang: "en" }, this.panel, this.launcher);
    this.panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented && !isComposing(event)) this.#fold();
    });
    // How Android's Back and assistive technology close a modal dialog.
    this.panel.addEventListener("cancel", (event) => {
      if (event.target !== this.panel) return;
      event.preventDefault();
      if (!this.#app?.closeDialog()) this.#fold();
    });
    this.panel.addEventListener("close", (event) => {
      if (event.target === this.panel && this.isOpen && !this.panel.open) this.#fold();
    });
    this.#small.addEventListener("change", () => this.isOpen && this.#display());

    const element = document.createElement(HOST);
    this.shadow = element.attachShadow({ mode: "open" });
    this.shadow.adoptedStyleSheets = [sheet];
    this.shadow.append(this.element);
    this.host = new Host(element, this.shadow, { onattach: () => this.isOpen && this.#display() });
  }

  /**
   * Take a step in the history, which may be one of the chat's own.
   *
   * @param {PopStateEvent} event
   */
  moved(event) {
    this.#fullscreen.moved(event);
  }

  /** Come back into a page that has removed the widget. */
  attach() {
    this.host.attach();
  }

  async start() {
    if (this.#remembered("open")) await this.open({ focus: false });
    else if (this.storage.get("session")) await this.#load();
  }

  toggle() {
    return this.isOpen ? this.close() : this.open();
  }

  async open({ focus = true } = {}) {
    this.attach();
    if (!this.isOpen) {
      this.#opener = focused(document);
      this.isOpen = true;
      this.element.classList.add("unfolded");
      this.launcher.setAttribute("aria-expanded", "true");
      this.#remember("open", true);
      if (!this.#app) this.root.replaceChildren(this.#notice("Loading…"));
      this.#display();
    }
    if (focus) this.panel.focus({ preventScroll: true });
    /** @type {ChatApp} */
    let app;
    try {
      app = await this.#load();
    } catch (error) {
      this.root.replaceChildren(this.#notice("The chat could not be loaded. Check your internet connection, then open it again."));
      console.warn("Support chat:", error);
      return;
    }
    app.setShown(this.isOpen);
    await app.started;
    // If the focus has moved meanwhile, it is not moved back.
    if (this.isOpen && this.shadow.activeElement === this.panel) app.focus();
  }

  /** For the page, which may be about to navigate: the history stays as long as it is. */
  async close() {
    this.#fold({ back: false });
  }

  #fold({ back = true } = {}) {
    if (!this.isOpen) return;
    const hadFocus = this.panel.contains(this.shadow.activeElement);
    this.isOpen = false;
    this.panel.close();
    this.#fullscreen.leave({ back });
    this.element.classList.remove("unfolded");
    this.launcher.setAttribute("aria-expanded", "false");
    this.#remember("open", false);
    const opener = this.#opener?.isConnected ? this.#opener : this.launcher;
    if (hadFocus) opener.focus({ preventScroll: true });
    this.#app?.setShown(false);
  }

  /** Show the panel: modal where it covers the page, beside the page where there is room. */
  #display() {
    const active = /** @type {HTMLElement | null} */ (this.shadow.activeElement);
    if (this.panel.open) this.panel.close();
    if (this.#small.matches) {
      this.panel.showModal();
      this.#fullscreen.enter();
    } else {
      // Not show(), which would take the focus.
      this.panel.setAttribute("open", "");
      this.#fullscreen.leave({ back: true });
    }
    if (active && this.panel.contains(active)) active.focus({ preventScroll: true });
    else if (this.#small.matches) this.panel.focus({ preventScroll: true });
  }

  /**
   * What stands in the panel until the chat does.
   *
   * @param {string} text
   */
  #notice(text) {
    return h("div", { class: "panel-notice" }, this.#foldButton(), h("p", { role: "status" }, text));
  }

  #foldButton() {
    return h("button", { type: "button", class: "icon-button fold", "aria-label": "Fold the chat", title: "Fold", onclick: () => this.#fold() }, icon("fold"));
  }

  /** Load the component when it is first needed: a page that only shows the button stays light. */
  #load() {
    this.#loading ??= this.#start().catch((error) => {
      this.#loading = null;
      throw error;
    });
    return this.#loading;
  }

  async #start() {
    const [{ BearerAuth, ChatApp }, sheet] = await Promise.all([import("./app.js"), styleSheet("chat.css")]);
    this.shadow.adoptedStyleSheets = [sheet, ...this.shadow.adoptedStyleSheets];
    const app = new ChatApp({
      root: this.root,
      origin: this.origin,
      auth: new BearerAuth(this.storage),
      storage: this.storage,
      mode: "widget",
      mayHaveSession: true,
      foldButton: () => this.#foldButton(),
    });
    this.#app = app;
    // The next visitor in this tab must not be shown what the last one had open.
    app.requestedChat = (user) => {
      const last = this.#remembered("chat");
      return user && last?.userId === user._id ? last.chatId : null;
    };
    app.on("opened", (chatId) => this.#remember("chat", { userId: app.session.user?._id ?? null, chatId }));
    app.on("unread", (unread) => this.#showUnread(unread));
    app.setShown(this.isOpen);
    app.started = app.start();
    return app;
  }

  /** @param {number} unread */
  #showUnread(unread) {
    this.badge.hidden = unread === 0;
    this.badge.replaceChildren(String(unread), spoken(" unread"));
  }

  /**
   * What is remembered while the visitor goes from page to page in this tab.
   *
   * @param {string} name
   */
  #remembered(name) {
    try {
      return JSON.parse(sessionStorage.getItem(this.storage.prefix + name) ?? "null");
    } catch {
      return null;
    }
  }

  /**
   * @param {string} name
   * @param {unknown} value
   */
  #remember(name, value) {
    try {
      sessionStorage.setItem(this.storage.prefix + name, encode(value));
    } catch {
      // Then the next page begins folded.
    }
  }
}

/**
 * The element that has the focus, also inside a shadow tree; null for the page itself.
 *
 * @param {DocumentOrShadowRoot} root
 * @returns {HTMLElement | null}
 */
function focused(root) {
  const active = root.activeElement;
  if (!active || active === document.body) return null;
  return (active.shadowRoot && focused(active.shadowRoot)) || /** @type {HTMLElement} */ (active);
}
