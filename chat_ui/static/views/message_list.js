/** The messages of a conversation, in pages that the browser may skip while they are out of sight. */

/** @import { Actions, App, Row } from "../../../web/types/chat.d.ts" */
/** @import { Conversation } from "../store.js" */

import { h } from "../dom.js";
import { dayKey } from "../time.js";
import { rows } from "./message.js";

const MESSAGES_PER_PAGE = 50;
/** Pages at the end that are always laid out; those before are skipped while out of sight. */
const LIVE_PAGES = 2;

export class MessageList {
  /** The rows that are shown, by their key. @type {Map<string, { element: HTMLElement, signature: string }>} */
  #rows = new Map();
  /** @type {Map<Row["page"], HTMLElement>} */
  #pages = new Map();
  #width = 0;

  /**
   * `actions`: what the buttons of an unsent message do, see message.js.
   *
   * @param {App} app
   * @param {Actions} actions
   */
  constructor(app, actions) {
    this.app = app;
    this.actions = actions;
    this.element = h("div", { class: "messages", role: "list", "aria-label": "Messages" });
  }

  clear() {
    this.#rows.clear();
    this.#pages.clear();
    this.element.replaceChildren();
  }

  /**
   * Show what is loaded and what is not sent yet; a row that has not changed is left as it is.
   *
   * @param {Conversation} conversation
   * @param {{ chatId: string | null, unreadFrom: number | null }} place
   */
  render(conversation, { chatId, unreadFrom }) {
    const wanted = rows({
      messages: conversation.messages,
      pending: this.app.outbox.entries(chatId),
      unreadFrom,
      dayKey,
      app: this.app,
      page: (seq) => Math.floor((seq - 1) / MESSAGES_PER_PAGE),
      actions: this.actions,
    });
    const byPage = grouped(wanted);
    const kept = new Map();
    const pages = [...byPage].map(([name, pageRows]) => {
      const page = this.#pages.get(name) ?? h("div", { class: "message-page", role: "presentation" });
      this.#pages.set(name, page);
      const elements = pageRows.map((row) => {
        const known = this.#rows.get(row.key);
        const element = known?.element ?? row.render();
        if (known && known.signature !== row.signature) replaceContent(element, row.render());
        kept.set(row.key, { element, signature: row.signature });
        return element;
      });
      arrange(page, elements);
      return page;
    });
    this.#rows = kept;
    for (const name of [...this.#pages.keys()]) if (!byPage.has(name)) this.#pages.delete(name);
    arrange(this.element, pages);
    this.#settlePages(pages);
  }

  /** Text may wrap differently now: the heights of the skipped pages are measured again. */
  resized() {
    const width = this.element.clientWidth;
    if (width === this.#width || width === 0) return;
    this.#width = width;
    for (const page of this.#pages.values()) page.classList.remove("settled");
    this.#settlePages(/** @type {HTMLElement[]} */ ([...this.element.children]));
  }

  /**
   * Let the browser skip the pages that are out of sight. Their height is measured first, so
   * that neither the scrollbar nor the reader's place moves when they are skipped.
   *
   * @param {HTMLElement[]} pages
   */
  #settlePages(pages) {
    const quiet = pages.slice(0, -LIVE_PAGES).filter((page) => !page.classList.contains("settled"));
    for (const [page, height] of quiet.map((element) => /** @type {const} */ ([element, element.offsetHeight]))) {
      page.style.containIntrinsicBlockSize = `auto ${height}px`;
      page.classList.add("settled");
    }
  }
}

/**
 * Give `parent` exactly these children, moving only what is not in its place.
 *
 * @param {Element} parent
 * @param {Element[]} elements
 */
function arrange(parent, elements) {
  elements.forEach((element, i) => {
    if (parent.children[i] !== element) parent.insertBefore(element, parent.children[i] ?? null);
  });
  while (parent.children.length > elements.length) parent.lastChild?.remove();
}

/**
 * Make `element` look like `fresh`; it stays the same one, and does not come in again.
 *
 * @param {HTMLElement} element
 * @param {HTMLElement} fresh
 */
function replaceContent(element, fresh) {
  element.className = `${fresh.className} still`;
  element.replaceChildren(...fresh.childNodes);
}

/** @param {Row[]} items */
function grouped(items) {
  /** @type {Map<Row["page"], Row[]>} */
  const groups = new Map();
  for (const item of items) {
    const group = groups.get(item.page) ?? [];
    groups.set(item.page, group);
    group.push(item);
  }
  return groups;
}
