/**
 * Keeps the store equal to the server. This is the one place where news come in: today by
 * polling; a stream would call the same `apply…` methods of the store.
 */

import { ApiError, IdentityChanged } from "./api.js";
import { Poller } from "./poller.js";

const VISIBLE = 3_000;
const FOLDED = 6_000;
const HIDDEN = 30_000;
const NEWEST = 50;
const PAGE = 50;
const CATCH_UP = 200;

export class Updates {
  /** The chat whose messages are being shown, or null. */
  openId = null;
  /** True while the widget is folded to its button: then only the badge needs news. */
  folded = false;
  #listEtag = null;
  #chatEtag = null;
  #stale = false;

  constructor({ api, store, session }) {
    this.api = api;
    this.store = store;
    this.session = session;
    this.poller = new Poller(
      () => this.#poll(),
      () => (document.hidden ? HIDDEN : this.folded ? FOLDED : VISIBLE),
    );
  }

  start() {
    this.poller.start();
  }

  stop() {
    this.poller.stop();
    this.#listEtag = null;
    this.#chatEtag = null;
  }

  refresh() {
    return this.poller.now();
  }

  /** Show another chat, or none. */
  open(chatId) {
    if (this.openId === chatId) return;
    if (this.openId) this.store.leave(this.openId);
    this.openId = chatId;
    this.#chatEtag = null;
    this.refresh();
  }

  fold(folded) {
    this.folded = folded;
    if (!folded) this.refresh();
  }

  /** After a time without contact: fetch again whatever is on the screen. */
  resync() {
    this.#listEtag = null;
    this.#chatEtag = null;
    this.#stale = true;
    this.store.keepOnly(this.openId);
    return this.refresh();
  }

  /** Load the page of history before the oldest message that is loaded. */
  async loadOlder(chatId) {
    const before = this.store.conversation(chatId).oldest;
    const { data } = await this.#asked(this.api.get(`/api/chat/${chatId}/messages?before=${before}&limit=${PAGE}`));
    this.store.applyOlder(chatId, data);
  }

  async loadMoreChats() {
    const cursor = encodeURIComponent(this.store.nextCursor);
    const { data, headers } = await this.#asked(this.api.get(`/api/chat?cursor=${cursor}`));
    this.store.applyNextPage(data, headers.get("X-Next-Cursor"));
  }

  async markRead(chatId, seq) {
    await this.#asked(this.api.post(`/api/chat/${chatId}/read`, { seq }));
    this.store.applyRead(chatId, seq);
  }

  async #poll() {
    const open = this.folded ? null : this.openId;
    const results = await Promise.allSettled([this.#pollList(), open ? this.#pollChat(open) : null]);
    const failed = results.find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
  }

  async #pollList() {
    const asked = this.store.now;
    const { status, data, etag, headers } = await this.#asked(this.api.get("/api/chat", { etag: this.#listEtag }));
    if (status === 304) return;
    if (data.some((chat) => chat.userId !== this.session.user?._id) && this.session.user?.role !== "admin") {
      await this.session.check();
      throw new IdentityChanged();
    }
    this.#listEtag = etag;
    this.store.applyFirstPage(data, {
      nextCursor: headers.get("X-Next-Cursor"),
      unreadTotal: Number(headers.get("X-Unread-Total") ?? 0),
      asked,
    });
  }

  async #pollChat(chatId) {
    const wasStale = this.#stale;
    let answer;
    try {
      answer = await this.#asked(this.api.get(`/api/chat/${chatId}?messages=${NEWEST}`, { etag: this.#chatEtag }));
    } catch (error) {
      if (!(error instanceof ApiError) || (error.status !== 404 && error.status !== 403)) throw error;
      if (error.status === 403) await this.session.check();
      this.store.applyRemoved(chatId);
      return;
    }
    if (answer.status === 304 || chatId !== this.openId) return;

    const conversation = this.store.conversation(chatId);
    const { messages } = answer.data;
    const missing = conversation.loaded && messages.length > 0 && messages[0].seq > conversation.newest + 1;
    const between = missing ? await this.#between(chatId, conversation.newest, messages[0].seq) : [];
    const older = wasStale ? await this.#loadedAgain(chatId, conversation, messages[0]?.seq) : [];
    this.store.applyChat({ ...answer.data, messages: [...older, ...between, ...messages] });
    if (wasStale) this.#stale = false;
    this.#chatEtag = answer.etag;
  }

  /** The messages after `newest` and before `seq`: a gap is filled before it is shown. */
  async #between(chatId, newest, seq) {
    const found = [];
    for (let after = newest; ;) {
      const { data } = await this.#asked(this.api.get(`/api/chat/${chatId}/messages?after=${after}&limit=${CATCH_UP}`));
      found.push(...data.filter((message) => message.seq < seq));
      if (data.length < CATCH_UP || data.at(-1).seq >= seq) return found;
      after = data.at(-1).seq;
    }
  }

  /** The messages that are loaded and older than `seq`, as they are now. */
  async #loadedAgain(chatId, conversation, seq) {
    const found = [];
    let before = Math.min(seq ?? 0, conversation.newest + 1);
    while (conversation.oldest !== null && before > conversation.oldest) {
      const { data } = await this.#asked(this.api.get(`/api/chat/${chatId}/messages?before=${before}&limit=${CATCH_UP}`));
      if (data.length === 0) break;
      found.push(...data);
      before = data[0].seq;
    }
    return found;
  }

  /** Wait for an answer, and notice when it says that the session is over. */
  async #asked(request) {
    try {
      return await request;
    } catch (error) {
      if (error.signedOut) this.session.expire();
      throw error;
    }
  }
}
