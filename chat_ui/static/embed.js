/** The widget: a round button on any page that unfolds the chat, sealed in a shadow tree. */

import { h, spoken } from "./dom.js";
import { icon } from "./icons.js";
import { LocalStore } from "./storage.js";

const HOST = "live-chat-widget";

/** Put the widget into the page and return {open, close, toggle}. */
export async function embed({ origin, position, label }) {
  const sheets = await Promise.all(["chat.css", "widget.css"].map(styleSheet));
  const host = document.createElement(HOST);
  const shadow = host.attachShadow({ mode: "open" });
  shadow.adoptedStyleSheets = sheets;
  const widget = new Widget({ shadow, origin, position, label });
  if (!document.body) await new Promise((ready) => document.addEventListener("DOMContentLoaded", ready, { once: true }));
  document.body.append(host);
  await widget.start();
  return widget;
}

/** A constructed sheet works where the page's Content-Security-Policy forbids inline styles. */
async function styleSheet(name) {
  const response = await fetch(new URL(name, import.meta.url), { credentials: "omit" });
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(await response.text());
  return sheet;
}

class Widget {
  #app = null;
  #loading = null;

  constructor({ shadow, origin, position, label }) {
    this.shadow = shadow;
    this.origin = origin;
    this.label = label || "Support chat";
    this.storage = new LocalStore(`livechat:${origin}:`);
    this.badge = h("span", { class: "badge", hidden: true });
    this.launcher = h(
      "button",
      { type: "button", class: label ? "launcher labelled" : "launcher", "aria-expanded": "false", "aria-controls": "chat-panel", onclick: () => this.toggle() },
      h("span", { class: "launcher-icon open-icon" }, icon("chat")),
      h("span", { class: "launcher-icon close-icon" }, icon("fold")),
      label ? h("span", { class: "launcher-label" }, label) : spoken("Support chat"),
      this.badge,
    );
    this.root = h("div", { class: "widget-root" });
    this.panel = h("section", { class: "panel", id: "chat-panel", "aria-label": this.label, tabIndex: -1, hidden: true }, this.root);
    // The page around may be written from right to left, or in another language.
    this.element = h("div", { class: position === "left" ? "widget left" : "widget", dir: "ltr", lang: "en" }, this.panel, this.launcher);
    shadow.append(this.element);
    this.panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.close();
    });
    // The page's own shortcuts must not fire while somebody types here.
    for (const name of ["keydown", "keyup", "keypress"]) shadow.addEventListener(name, (event) => event.stopPropagation());
  }

  async start() {
    if (this.#remembered("open")) await this.open({ focus: false });
    else if (this.storage.get("session")) await this.#load();
  }

  toggle() {
    return this.panel.hidden ? this.open() : this.close();
  }

  async open({ focus = true } = {}) {
    this.panel.hidden = false;
    this.element.classList.add("unfolded");
    this.launcher.setAttribute("aria-expanded", "true");
    this.#remember("open", true);
    if (focus) this.panel.focus({ preventScroll: true });
    const app = await this.#load();
    app.setShown(!this.panel.hidden);
    await app.started;
    // Whoever has moved on meanwhile is not called back.
    if (this.shadow.activeElement === this.panel) app.focus();
  }

  async close() {
    const hadFocus = this.panel.contains(this.shadow.activeElement);
    this.panel.hidden = true;
    this.element.classList.remove("unfolded");
    this.launcher.setAttribute("aria-expanded", "false");
    this.#remember("open", false);
    if (hadFocus) this.launcher.focus({ preventScroll: true });
    this.#app?.setShown(false);
  }

  /** Load the component when it is first needed: a page that only shows the button stays light. */
  #load() {
    this.#loading ??= this.#start();
    return this.#loading;
  }

  async #start() {
    const [{ ChatApp }, { BearerAuth }] = await Promise.all([import("./app.js"), import("./api.js")]);
    const app = new ChatApp({
      root: this.root,
      origin: this.origin,
      auth: new BearerAuth(this.storage),
      storage: this.storage,
      mode: "widget",
      mayHaveSession: true,
      foldButton: () => h("button", { type: "button", class: "icon-button fold", "aria-label": "Fold the chat", title: "Fold", onclick: () => this.close() }, icon("fold")),
    });
    this.#app = app;
    app.requestedChat = () => this.#remembered("chat");
    app.on("opened", (chatId) => this.#remember("chat", chatId));
    app.on("unread", (unread) => this.#showUnread(unread));
    app.setShown(!this.panel.hidden);
    app.started = app.start();
    return app;
  }

  #showUnread(unread) {
    this.badge.hidden = unread === 0;
    this.badge.replaceChildren(String(unread), spoken(" unread"));
  }

  /** What is remembered while the visitor goes from page to page in this tab. */
  #remembered(name) {
    try {
      return JSON.parse(sessionStorage.getItem(this.storage.prefix + name));
    } catch {
      return null;
    }
  }

  #remember(name, value) {
    try {
      sessionStorage.setItem(this.storage.prefix + name, JSON.stringify(value));
    } catch {
      // Then the next page begins folded.
    }
  }
}
