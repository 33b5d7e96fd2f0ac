/**
 * Keeps the store equal to the server. This is the one place where news come in: live while
 * there is a connection, else by polling. The API is the source of truth: everything that may be
 * missing after an event is fetched, and everything is asked for again now and then.
 */

/** @import { Chat, Message } from "../../web/types/api.d.ts" */
/** @import { Api } from "./api.js" */
/** @import { Connection } from "./connection.js" */
/** @import { Session } from "./session.js" */
/** @import { Conversation, Store } from "./store.js" */

import { ConnectionState, LiveConnection } from "../../web/static/live_connection.js";
import { ApiError, IdentityChanged, NetworkError } from "./api.js";
import { Poller } from "./poller.js";
import { Signals } from "./signals.js";
import { isOwn, lastSeq } from "./store.js";

const VISIBLE = 3_000;
const FOLDED = 6_000;
const HIDDEN = 30_000;
/** While news come in live, polling only makes sure. */
const LIVE = 60_000;
const LIVE_HIDDEN = 300_000;
/** Before the live connection is tried again for the first time. */
const FIRST_RETRY = 1_500;
/** How often a connection is checked in a hidden tab. */
const PING_INTERVAL_HIDDEN = 60_000;
/** A typing indicator expires after 6 s. */
const TYPING = 3_000;
const NEWEST = 50;
const PAGE = 50;
const CATCH_UP = 200;

export class Updates {
  /** The chat whose messages are being shown, or null. @type {string | null} */
  openId = null;
  /** True while the widget is folded to its button: then only the badge needs news. */
  folded = false;
  /** @type {string | null} */
  #listEtag = null;
  /** @type {string | null} */
  #chatEtag = null;
  #stale = false;
  #wasUp = false;
  #typedAt = 0;
  /** The newest seq that was asked for because of an event, by chat. @type {Map<string, number>} */
  #askedFor = new Map();

  /** @param {{ api: Api, store: Store, session: Session, connection: Connection }} app */
  constructor({ api, store, session, connection }) {
    this.api = api;
    this.store = store;
    this.session = session;
    this.connection = connection;
    this.signals = new Signals();
    this.poller = new Poller(
      () => this.#poll(),
      (failed) => this.#interval(failed),
    );
    this.live = new LiveConnection({
      url: () => api.socketUrl,
      protocols: () => api.auth.protocols(),
      firstRetry: FIRST_RETRY,
      pingIntervalHidden: PING_INTERVAL_HIDDEN,
      trustsOffline: true,
      lastSeq: (chatId) => (store.conversation(chatId).loaded ? store.conversation(chatId).newest : null),
    });
    this.live.on("event", ({ event, data }) => this.#onMessage(event, data));
    this.live.on("up", () => this.#up());
    this.live.on("down", () => this.#down());
    this.live.on("ended", (code) => this.#onEnd(code));
    this.live.on("refused", () => this.refresh());
    this.live.on("state", (state) => {
      if (state === ConnectionState.FORBIDDEN) warnForbidden(api.socketUrl);
    });
  }

  start() {
    this.poller.start();
    this.live.start();
  }

  stop() {
    this.poller.stop();
    this.live.stop();
    this.#listEtag = null;
    this.#chatEtag = null;
    this.#wasUp = false;
    this.#askedFor.clear();
  }

  refresh() {
    return this.poller.now();
  }

  /**
   * Show another chat, or none.
   *
   * @param {string | null} chatId
   */
  open(chatId) {
    if (this.openId === chatId) return;
    if (this.openId) this.store.leave(this.openId);
    this.openId = chatId;
    this.#chatEtag = null;
    this.#typedAt = 0;
    this.#watch();
    this.refresh();
  }

  /** @param {boolean} folded */
  fold(folded) {
    if (this.folded === folded) return;
    this.folded = folded;
    this.#watch();
    if (folded) this.poller.reschedule();
    else this.refresh();
  }

  /** The user is typing: send a typing event, with a minimum interval. */
  types() {
    const now = Date.now();
    if (!this.openId || now - this.#typedAt < TYPING) return;
    this.#typedAt = now;
    if (this.live.isLive) this.live.send({ type: "typing", chatId: this.openId });
    else if (this.connection.state === "online") this.api.post(`/api/chat/${this.openId}/typing`).catch(() => undefined);
  }

  /** After a time without a connection: fetch everything on the screen again. */
  resync() {
    this.#listEtag = null;
    this.#chatEtag = null;
    this.#stale = true;
    this.store.keepOnly(this.openId);
    return this.refresh();
  }

  /**
   * Load the page of history before the oldest message that is loaded.
   *
   * @param {string} chatId
   */
  async loadOlder(chatId) {
    const before = this.store.conversation(chatId).oldest;
    const { data } = await this.#asked(this.api.get(`/api/chat/${chatId}/messages?before=${before}&limit=${PAGE}`));
    this.store.applyOlder(chatId, data);
  }

  async loadMoreChats() {
    const cursor = encodeURIComponent(this.store.nextCursor ?? "");
    const { data, headers } = await this.#asked(this.api.get(`/api/chat?cursor=${cursor}`));
    this.store.applyNextPage(data, headers.get("X-Next-Cursor"));
  }

  /**
   * @param {string} chatId
   * @param {number} seq
   */
  async markRead(chatId, seq) {
    /** @type {Promise<unknown>} */
    const request = this.live.isLive ? this.#askLive({ type: "read", chatId, seq }) : this.api.post(`/api/chat/${chatId}/read`, { seq });
    await this.#asked(request);
    this.store.applyRead(chatId, seq);
  }

  /**
   * Tell support that the reader regards the chat's question as answered.
   *
   * @param {string} chatId
   */
  async markSolved(chatId) {
    await this.#asked(this.api.post(`/api/chat/${chatId}/solved`));
    const { data } = await this.#asked(this.api.get(`/api/chat/${chatId}?messages=0`));
    delete data.messages;
    this.store.applyChat(data);
  }

  // Live

  #interval(failed = false) {
    const isHidden = document.hidden || this.folded;
    if (this.live.isLive && !failed) return isHidden ? LIVE_HIDDEN : LIVE;
    return document.hidden ? HIDDEN : this.folded ? FOLDED : VISIBLE;
  }

  /** A folded widget only needs to know how much is unread, which the inbox tells. */
  #watch() {
    this.signals.forget();
    this.live.watch(this.folded ? null : this.openId);
  }

  /** From here on news come in by themselves: now fetch what came before. */
  #up() {
    if (this.#wasUp) this.resync();
    else this.refresh();
    this.#wasUp = true;
  }

  #down() {
    this.signals.forget();
    this.poller.reschedule();
  }

  /**
   * The session may be over, or another one than it was: the API knows.
   *
   * @param {string} code
   */
  async #onEnd(code) {
    if (code !== "session_ended" && code !== "forbidden") return;
    try {
      await this.session.check();
    } catch {
      // Without an answer the polls go on asking.
    }
    if (this.session.state === "signed-in") this.live.check();
  }

  /**
   * @param {string} event
   * @param {any} data
   */
  #onMessage(event, data) {
    switch (event) {
      case "chat":
        this.#heardChat(data);
        break;
      case "message":
        this.signals.stops(data.senderId);
        if (!this.store.applyMessages(data.chatId, [data])) this.refresh();
        break;
      case "read":
        if (data.readerRole === "admin") this.store.applyReadByThem(data.chatId, data.seq);
        break;
      case "deleted":
        if (data.seq === null || data.seq === undefined) this.store.applyRemoved(data.chatId);
        else this.#fetchAgain(data.chatId, data.seq);
        break;
      case "typing":
        if (data.chatId === this.openId && !this.folded && data.senderId !== this.session.user?._id) this.signals.types(data.senderId, data.senderName);
        break;
      case "presence":
        if (data.role !== "admin") break;
        if (data.chatId === this.openId && data.online) this.signals.comes(data.userId, data.name);
        else this.signals.goes(data.userId);
        break;
    }
  }

  /** @param {Chat} chat */
  #heardChat(chat) {
    if (chat.userId !== this.session.user?._id) {
      // The cookie belongs to another user now.
      this.session.check().catch(() => undefined);
      return;
    }
    this.store.applyChat(chat);
    this.#fillGap(chat._id);
  }

  /**
   * Fetch what the open chat should hold and does not; once for each number it promises.
   *
   * @param {string} chatId
   */
  #fillGap(chatId) {
    const chat = this.store.chat(chatId);
    const conversation = this.store.conversation(chatId);
    if (!chat || chatId !== this.openId || this.folded || !conversation.loaded) return;
    const promised = lastSeq(chat);
    if (conversation.newest >= promised || (this.#askedFor.get(chatId) ?? 0) >= promised) return;
    this.#askedFor.set(chatId, promised);
    this.refresh();
  }

  /**
   * A message that is shown has changed.
   *
   * @param {string} chatId
   * @param {number} seq
   */
  async #fetchAgain(chatId, seq) {
    const { loaded, oldest, newest } = this.store.conversation(chatId);
    if (!loaded || seq < oldest || seq > newest) return;
    try {
      await this.#fetchOne(chatId, seq);
    } catch {
      this.resync();
    }
  }

  /**
   * @param {string} chatId
   * @param {number} seq
   */
  async #fetchOne(chatId, seq) {
    const { data } = await this.#asked(this.api.get(`/api/chat/${chatId}/messages?after=${seq - 1}&limit=1`));
    this.store.applyMessages(chatId, data);
  }

  // Polling

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
    if (data.some((/** @type {Chat} */ chat) => chat.userId !== this.session.user?._id) && this.session.user?.role !== "admin") {
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

  /** @param {string} chatId */
  async #pollChat(chatId) {
    // Contact may be lost and found again while this runs: then it is done once more.
    const wasStale = this.#stale;
    this.#stale = false;
    try {
      await this.#fetchChat(chatId, wasStale);
    } catch (error) {
      this.#stale ||= wasStale;
      if (!(error instanceof ApiError) || (error.status !== 404 && error.status !== 403)) throw error;
      if (error.status === 403) await this.session.check();
      this.store.applyRemoved(chatId);
    }
  }

  /**
   * @param {string} chatId
   * @param {boolean} wasStale
   */
  async #fetchChat(chatId, wasStale) {
    const etag = wasStale ? null : this.#chatEtag;
    const answer = await this.#asked(this.api.get(`/api/chat/${chatId}?messages=${NEWEST}`, { etag }));
    if (answer.status === 304 || chatId !== this.openId) return;

    const conversation = this.store.conversation(chatId);
    const { messages } = answer.data;
    const missing = conversation.loaded && messages.length > 0 && messages[0].seq > conversation.newest + 1;
    const between = missing ? await this.#between(chatId, conversation.newest, messages[0].seq) : [];
    const older = wasStale ? await this.#loadedAgain(chatId, conversation, messages[0]?.seq) : [];
    this.store.applyChat({ ...answer.data, messages: [...older, ...between, ...messages] });
    // The newest messages may all be theirs: then whether ours are read stands further up.
    const mine = conversation.messages.findLast(isOwn);
    if (mine && !mine.isRead && mine.seq < messages[0]?.seq) await this.#fetchOne(chatId, mine.seq);
    this.#chatEtag = answer.etag;
    this.#fillGap(chatId);
  }

  /**
   * The messages after `newest` and before `seq`: a gap is filled before it is shown.
   *
   * @param {string} chatId
   * @param {number} newest
   * @param {number} seq
   */
  async #between(chatId, newest, seq) {
    const found = [];
    for (let after = newest; ;) {
      const { data } = await this.#asked(this.api.get(`/api/chat/${chatId}/messages?after=${after}&limit=${CATCH_UP}`));
      found.push(...data.filter((/** @type {Message} */ message) => message.seq < seq));
      if (data.length < CATCH_UP || data.at(-1).seq >= seq) return found;
      after = data.at(-1).seq;
    }
  }

  /**
   * The messages that are loaded and older than `seq`, as they are now.
   *
   * @param {string} chatId
   * @param {Conversation} conversation
   * @param {number | undefined} seq
   */
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

  /**
   * Send a frame and wait until the server has done it. Throws ApiError, NetworkError.
   *
   * @param {object} frame
   */
  async #askLive(frame) {
    const reply = await this.live.ask(frame);
    if (!reply) throw new NetworkError();
    if (reply.event === "problem") throw new ApiError(reply.data.status, reply.data, reply.data.retryAfter);
  }

  /**
   * Wait for an answer, and notice when it says that the session is over.
   *
   * @template Result
   * @param {Promise<Result>} request
   * @returns {Promise<Result>}
   */
  async #asked(request) {
    try {
      return await request;
    } catch (error) {
      if (error instanceof ApiError && error.signedOut) this.session.expire();
      throw error;
    }
  }
}

/** @param {string} socketUrl */
function warnForbidden(socketUrl) {
  console.warn(`Support chat: messages arrive later than they could. Allow ${new URL(socketUrl).origin} in this page's connect-src.`);
}
