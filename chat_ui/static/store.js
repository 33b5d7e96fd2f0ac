/** What the server has said: the chats and the messages loaded so far. No requests, no DOM. */

/** @import { Chat, ChatWithMessages, Message } from "../../web/types/api.d.ts" */

import { Emitter } from "../../web/static/emitter.js";

const KEPT_AFTER_LEAVING = 50;

/** The messages of one chat that are loaded: an unbroken run that ends with the newest. */
export class Conversation {
  loaded = false;
  complete = false;
  /** @type {Map<number, Message>} */
  #bySeq = new Map();
  /** @type {Message[]} */
  #sorted = [];

  get messages() {
    return this.#sorted;
  }

  get oldest() {
    return this.#sorted[0]?.seq ?? null;
  }

  get newest() {
    return this.#sorted.at(-1)?.seq ?? 0;
  }

  get hasOlder() {
    return this.loaded && !this.complete && this.oldest !== null && this.oldest > 1;
  }

  /**
   * Take messages over and return those that were not known.
   *
   * @param {Message[]} messages
   */
  merge(messages) {
    const added = [];
    for (const message of messages) {
      const known = this.#bySeq.get(message.seq);
      if (!known) added.push(message);
      // An answer may be older than the news that it has been read; nothing is unread again.
      this.#bySeq.set(message.seq, known?.isRead ? { ...message, isRead: true } : message);
    }
    this.#sorted = [...this.#bySeq.values()].sort((a, b) => a.seq - b.seq);
    return added;
  }

  /**
   * Keep only the newest messages, so that an old copy is never shown for long.
   *
   * @param {number} count
   */
  trim(count) {
    if (this.#sorted.length <= count) return;
    this.#sorted = this.#sorted.slice(-count);
    this.#bySeq = new Map(this.#sorted.map((message) => [message.seq, message]));
    this.complete = false;
  }
}

/**
 * Every change comes in through one of the `apply…` methods, wherever it came from: an
 * answer, a poll, or a stream's event.
 *
 * Emits "chats", "chat" (id), "messages" ({chatId, added}) and "removed" (id).
 */
export class Store extends Emitter {
  /** @type {Map<string, Chat>} */
  #chats = new Map();
  /** @type {Map<string, Conversation>} */
  #conversations = new Map();
  #changes = 0;
  /** When each chat was last taken over, in numbers of changes. @type {Map<string, number>} */
  #takenOver = new Map();
  #unreadTotal = 0;
  /** The seq that this client has marked as read on the server, by chat. @type {Map<string, number>} */
  #readTo = new Map();
  /** @type {string | null} */
  nextCursor = null;
  loaded = false;

  reset() {
    this.#chats.clear();
    this.#conversations.clear();
    this.#readTo.clear();
    this.#takenOver.clear();
    this.#unreadTotal = 0;
    this.nextCursor = null;
    this.loaded = false;
    this.emit("chats");
  }

  /** All known chats, newest message first. */
  get chats() {
    return [...this.#chats.values()].sort(
      (a, b) => b.lastMessageAt.localeCompare(a.lastMessageAt) || b._id.localeCompare(a._id),
    );
  }

  /** Unread messages; those of chats that are not in the list yet are the server's count. */
  get unread() {
    let known = 0;
    for (const { unreadCount } of this.#chats.values()) known += unreadCount;
    return this.nextCursor ? Math.max(known, this.#unreadTotal) : known;
  }

  /** A point in time to give to `applyFirstPage`. */
  get now() {
    return this.#changes;
  }

  /** @param {string} id */
  chat(id) {
    return this.#chats.get(id) ?? null;
  }

  /**
   * @param {string} id
   * @returns {Conversation}
   */
  conversation(id) {
    const conversation = this.#conversations.get(id) ?? new Conversation();
    this.#conversations.set(id, conversation);
    return conversation;
  }

  /**
   * Take over the first page of the list: what it should hold and does not, is gone, unless
   * it came in after `asked`, the moment when the page was asked for.
   *
   * @param {Chat[]} chats
   * @param {{ nextCursor: string | null, unreadTotal: number, asked: number }} page
   */
  applyFirstPage(chats, { nextCursor, unreadTotal, asked }) {
    this.#unreadTotal = unreadTotal;
    const ids = new Set(chats.map((chat) => chat._id));
    const last = chats.at(-1)?.lastMessageAt ?? "";
    for (const chat of [...this.#chats.values()]) {
      const belongsHere = !nextCursor || chat.lastMessageAt > last;
      if (this.#tookOverAfter(chat._id, asked)) continue;
      if (belongsHere && !ids.has(chat._id)) this.#remove(chat._id);
    }
    const showsMore = this.loaded && this.#chats.size > chats.length;
    if (!showsMore || !nextCursor) this.nextCursor = nextCursor;
    this.loaded = true;
    for (const chat of chats) {
      const known = this.#chats.get(chat._id);
      // Reading changes a chat but not its `updatedAt`: what came in later knows more.
      if (known?.updatedAt === chat.updatedAt && this.#tookOverAfter(chat._id, asked)) continue;
      this.#put(chat);
    }
    this.emit("chats");
  }

  /**
   * Take over a further page of the list.
   *
   * @param {Chat[]} chats
   * @param {string | null} nextCursor
   */
  applyNextPage(chats, nextCursor) {
    for (const chat of chats) this.#put(chat);
    this.nextCursor = nextCursor;
    this.emit("chats");
  }

  /**
   * Take over one chat, with or without `messages` (its newest, without a gap before them).
   *
   * @param {ChatWithMessages} chat
   */
  applyChat({ messages, ...chat }) {
    this.#put(chat);
    if (messages) {
      const conversation = this.conversation(chat._id);
      const first = !conversation.loaded;
      conversation.loaded = true;
      this.#merge(chat._id, messages, first);
    }
    this.emit("chat", chat._id);
    this.emit("chats");
  }

  /**
   * Take over new messages of a chat that is loaded. Returns false, and takes none, when
   * messages before them are missing: the order on the screen never has a hole.
   *
   * @param {string} chatId
   * @param {Message[]} messages
   */
  applyMessages(chatId, messages) {
    const conversation = this.conversation(chatId);
    if (!conversation.loaded || messages.some((message, i) => message.seq > conversation.newest + 1 + i)) return false;
    this.#merge(chatId, messages, false);
    return true;
  }

  /**
   * Take over a page of history; an empty one is the beginning of the chat.
   *
   * @param {string} chatId
   * @param {Message[]} messages
   */
  applyOlder(chatId, messages) {
    const conversation = this.conversation(chatId);
    if (messages.length === 0) conversation.complete = true;
    conversation.merge(messages);
    this.emit("messages", { chatId, added: [] });
  }

  /**
   * The server has stored that this side has read up to `seq`.
   *
   * @param {string} chatId
   * @param {number} seq
   */
  applyRead(chatId, seq) {
    this.#readTo.set(chatId, Math.max(seq, this.#readTo.get(chatId) ?? 0));
    const chat = this.chat(chatId);
    if (!chat || chat.unreadCount === 0) return;
    this.#put(chat);
    this.emit("chat", chatId);
    this.emit("chats");
  }

  /**
   * The other side has read this side's messages up to `seq`.
   *
   * @param {string} chatId
   * @param {number} seq
   */
  applyReadByThem(chatId, seq) {
    const messages = this.conversation(chatId).messages.filter((message) => message.seq <= seq && !message.isRead && isOwn(message));
    if (messages.length === 0) return;
    this.conversation(chatId).merge(messages.map((message) => ({ ...message, isRead: true })));
    this.emit("messages", { chatId, added: [] });
  }

  /** @param {string} chatId */
  applyRemoved(chatId) {
    this.#remove(chatId);
    this.emit("chats");
  }

  /**
   * The reader has left a chat: most of its messages are fetched again when needed.
   *
   * @param {string} chatId
   */
  leave(chatId) {
    this.#conversations.get(chatId)?.trim(KEPT_AFTER_LEAVING);
  }

  /**
   * Contact was lost for a while: forget the messages of all chats but `chatId`.
   *
   * @param {string | null} chatId
   */
  keepOnly(chatId) {
    for (const id of this.#conversations.keys()) if (id !== chatId) this.#conversations.delete(id);
  }

  /**
   * Tell whether a chat has come in since the moment `asked`.
   *
   * @param {string} id
   * @param {number} asked
   */
  #tookOverAfter(id, asked) {
    return (this.#takenOver.get(id) ?? 0) > asked;
  }

  /**
   * @param {string} chatId
   * @param {Message[]} messages
   * @param {boolean} first
   */
  #merge(chatId, messages, first) {
    const conversation = this.conversation(chatId);
    const added = conversation.merge(messages);
    this.emit("messages", { chatId, added: first ? [] : added });
  }

  /** @param {Chat} chat */
  #put(chat) {
    this.#changes += 1;
    this.#takenOver.set(chat._id, this.#changes);
    const known = this.#chats.get(chat._id);
    // Answers can overtake each other; the newest wins.
    if (known && known.updatedAt > chat.updatedAt) return;
    const readTo = this.#readTo.get(chat._id) ?? 0;
    const allRead = chat.unreadCount > 0 && lastSeq(chat) <= readTo;
    this.#chats.set(chat._id, allRead ? { ...chat, unreadCount: 0 } : chat);
  }

  /** @param {string} chatId */
  #remove(chatId) {
    this.#chats.delete(chatId);
    this.#conversations.delete(chatId);
    this.emit("removed", chatId);
  }
}

/**
 * Whether a message comes from the reader's side.
 *
 * @param {Pick<Message, "senderRole">} message
 */
export function isOwn({ senderRole }) {
  return senderRole === "user" || senderRole === "guest";
}

/**
 * The number of a chat's newest message.
 *
 * @param {Chat} chat
 */
export function lastSeq(chat) {
  return chat.lastSeq ?? chat.messageCount ?? 0;
}

/**
 * Whether messages can be added to a chat.
 *
 * @param {Pick<Chat, "status">} chat
 */
export function isOpen({ status }) {
  return status === "active" || status === "pending";
}
