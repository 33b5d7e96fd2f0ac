/**
 * Messages that the server has not confirmed yet. Each is stored until it is, so that
 * neither a reload nor a crash loses it, and sent again with the same clientMessageId, so
 * that none arrives twice.
 */

/** @import { Message } from "../../web/types/api.d.ts" */
/** @import { Api } from "./api.js" */
/** @import { Session } from "./session.js" */
/** @import { LocalStore } from "./storage.js" */
/** @import { Store } from "./store.js" */

import { backoff } from "../../web/static/backoff.js";
import { Emitter } from "../../web/static/emitter.js";
import { newId } from "../../web/static/ids.js";
import { ApiError, IdentityChanged } from "./api.js";

const FIRST_RETRY = 2_000;
/** A message of another tab is left to that tab for so long. */
const OTHER_TAB = 8_000;

/**
 * @typedef {object} Entry
 * @property {string} clientMessageId
 * @property {string} chatId
 * @property {string} content
 * @property {string} createdAt
 * @property {number} position among the entries of its chat, from 1
 * @property {"sending" | "waiting" | "sent" | "refused"} state
 * @property {string | null} problem
 */

/**
 * The `state` of an entry:
 *   sending  the request is on its way or about to be
 *   waiting  it failed for now and is tried again by itself
 *   sent     confirmed, but messages before it are not loaded yet: it is shown until they are
 *   refused  the server said no; `problem` says why and only the writer can go on
 *
 * Emits "change" (chatId), "refused" (entry), and "behind" when the updates should be asked:
 * whether the service can be reached, or for messages that are not loaded yet.
 */
export class Outbox extends Emitter {
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  /** The chats whose messages are being sent. @type {Set<string>} */
  #busy = new Set();
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  /** @type {string | null} */
  #userId = null;
  #paused = true;

  /** @param {{ api: Api, storage: LocalStore, store: Store, session: Session }} app */
  constructor({ api, storage, store, session }) {
    super();
    this.api = api;
    this.storage = storage;
    this.store = store;
    this.session = session;
    storage.onChange((key) => this.#otherTab(key));
    store.on("messages", ({ chatId }) => this.#confirm(chatId));
  }

  /**
   * Take up the unsent messages of this account, and of no other.
   *
   * @param {string} userId
   */
  open(userId) {
    if (this.#userId !== userId) {
      this.close();
      this.#userId = userId;
      for (const key of this.storage.keys(this.#prefix)) this.#adopt(this.storage.get(key));
    }
    this.#paused = false;
    this.flush();
  }

  /** Send nothing until `open`: the session is over, but its account may return. */
  pause() {
    this.#paused = true;
    clearTimeout(this.#retryTimer);
  }

  close() {
    this.pause();
    this.#entries.clear();
    this.#userId = null;
    this.#failures = 0;
  }

  /** How many messages the server does not have. */
  get size() {
    return [...this.#entries.values()].filter(({ state }) => state !== "sent").length;
  }

  /**
   * The unconfirmed messages of a chat in the order they were written.
   *
   * @param {string | null} chatId
   */
  entries(chatId) {
    return [...this.#entries.values()].filter((entry) => entry.chatId === chatId).sort(inOrder);
  }

  /**
   * @param {string} chatId
   * @param {string} content
   */
  add(chatId, content) {
    /** @type {Entry} */
    const entry = {
      clientMessageId: newId(),
      chatId,
      content,
      createdAt: new Date().toISOString(),
      position: 1 + Math.max(0, ...this.entries(chatId).map((other) => other.position)),
      state: "sending",
      problem: null,
    };
    this.#save(entry);
    this.#work(chatId);
    return entry;
  }

  /** @param {string} clientMessageId */
  retry(clientMessageId) {
    const entry = this.#entries.get(clientMessageId);
    if (!entry) return;
    this.#update(entry, { state: "sending", problem: null });
    this.flush();
  }

  /** @param {string} clientMessageId */
  discard(clientMessageId) {
    const entry = this.#entries.get(clientMessageId);
    if (entry) this.#drop(entry);
  }

  /** Try everything now that waits. */
  flush() {
    clearTimeout(this.#retryTimer);
    for (const chatId of new Set([...this.#entries.values()].map((entry) => entry.chatId))) this.#work(chatId);
  }

  get #prefix() {
    return `outbox:${this.#userId}:`;
  }

  /**
   * Send a chat's messages one after the other: their order is the writer's.
   *
   * @param {string} chatId
   */
  async #work(chatId) {
    if (this.#paused || this.#busy.has(chatId)) return;
    this.#busy.add(chatId);
    const userId = this.#userId;
    try {
      for (;;) {
        const entry = this.entries(chatId).find(({ state }) => state !== "refused" && state !== "sent");
        if (!entry || this.#paused || this.#userId !== userId) break;
        this.#update(entry, { state: "sending", problem: null });
        if (!(await this.#send(entry))) break;
      }
    } finally {
      this.#busy.delete(chatId);
    }
  }

  /**
   * Send one message; false when the rest has to wait.
   *
   * @param {Entry} entry
   */
  async #send(entry) {
    const { chatId, content, clientMessageId } = entry;
    try {
      const { data } = await this.api.post(`/api/chat/${chatId}/messages`, { content, clientMessageId });
      this.#failures = 0;
      this.#sent(entry, data);
      return true;
    } catch (caught) {
      const error = /** @type {ApiError} */ (caught);
      if (!this.#entries.has(clientMessageId)) return true;
      if (error instanceof IdentityChanged || error.signedOut) {
        this.#update(entry, { state: "waiting", problem: "You are signed out." });
        this.pause();
        if (error.signedOut) this.session.expire();
        return false;
      }
      if (error instanceof ApiError && !error.temporary) {
        this.#update(entry, { state: "refused", problem: reason(error) });
        this.emit("refused", entry);
        return true;
      }
      this.#failures += 1;
      this.#update(entry, { state: "waiting", problem: error.message });
      clearTimeout(this.#retryTimer);
      this.#retryTimer = setTimeout(() => this.flush(), backoff(this.#failures, FIRST_RETRY, { retryAfter: error.retryAfter }));
      if (error.status !== 429) this.emit("behind");
      return false;
    }
  }

  /**
   * @param {Entry} entry
   * @param {Message} message
   */
  #sent(entry, message) {
    const conversation = this.store.conversation(entry.chatId);
    if (!conversation.loaded || this.store.applyMessages(entry.chatId, [message])) {
      this.#drop(entry);
      return;
    }
    this.storage.remove(this.#prefix + entry.clientMessageId);
    Object.assign(entry, { state: "sent", problem: null });
    this.emit("change", entry.chatId);
    this.emit("behind");
  }

  /**
   * A message in the history has been sent, with any response to its request.
   *
   * @param {string} chatId
   */
  #confirm(chatId) {
    for (const message of this.store.conversation(chatId).messages) {
      const entry = this.#entries.get(message.clientMessageId ?? "");
      if (entry) this.#drop(entry);
    }
  }

  /** @param {string} key */
  #otherTab(key) {
    if (!this.#userId || !key.startsWith(this.#prefix)) return;
    const stored = this.storage.get(key);
    const known = this.#entries.get(key.slice(this.#prefix.length));
    if (!stored && known && known.state !== "sent") {
      this.#entries.delete(known.clientMessageId);
      this.emit("change", known.chatId);
    } else if (stored && !known) {
      // That tab is sending it; if the tab is gone before it could, this one does.
      setTimeout(() => {
        if (this.storage.get(key) && this.#adopt(stored)) this.flush();
      }, OTHER_TAB);
    }
  }

  /** @param {Entry | null} entry */
  #adopt(entry) {
    if (!entry?.clientMessageId || this.#entries.has(entry.clientMessageId)) return false;
    this.#entries.set(entry.clientMessageId, entry.state === "refused" ? entry : { ...entry, state: "sending" });
    this.emit("change", entry.chatId);
    return true;
  }

  /** @param {Entry} entry */
  #save(entry) {
    this.#entries.set(entry.clientMessageId, entry);
    this.storage.set(this.#prefix + entry.clientMessageId, entry);
    this.emit("change", entry.chatId);
  }

  /**
   * @param {Entry} entry
   * @param {Partial<Entry>} changes
   */
  #update(entry, changes) {
    Object.assign(entry, changes);
    this.#save(entry);
  }

  /** @param {Entry} entry */
  #drop(entry) {
    this.#entries.delete(entry.clientMessageId);
    this.storage.remove(this.#prefix + entry.clientMessageId);
    this.emit("change", entry.chatId);
  }
}

/**
 * @param {Entry} a
 * @param {Entry} b
 */
function inOrder(a, b) {
  return a.position - b.position || a.createdAt.localeCompare(b.createdAt);
}

/**
 * Why a message was refused, in words for its writer.
 *
 * @param {ApiError} error
 */
function reason(error) {
  const [text] = Object.values(error.fields).flat();
  return text ?? error.message;
}
