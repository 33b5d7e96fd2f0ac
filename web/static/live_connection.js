/**
 * The live connection: one WebSocket a tab, for the inbox and the open chat.
 *
 * A WebSocket, because a browser allows some two hundred of them to a host and only six event
 * streams over HTTP/1.1: the seventh tab would wait for ever. It also takes a token where no
 * header can be set, and carries frames to the server.
 *
 * It promises nothing: what it brings may have gaps, and it may be dead without a sign. So its
 * users fetch after "up" and go on polling now and then.
 */

import { backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { encode } from "./json.js";

/**
 * The states, and what leads to another:
 *
 *   STOPPED    before `start` and after `stop`        start: OPENING
 *   WAITING    for the next attempt, or for "online"  time: OPENING
 *   OPENING    the inbox is not confirmed yet         confirmed: LIVE; failed: WAITING
 *   LIVE       events come in                         silence: CHECKING; lost: WAITING
 *   CHECKING   as LIVE, but a reply is overdue soon   reply: LIVE; none: WAITING
 *   FORBIDDEN  by the page's Content-Security-Policy  nothing leaves it
 *
 * @enum {string}
 */
export const ConnectionState = Object.freeze({
  STOPPED: "stopped",
  WAITING: "waiting",
  OPENING: "opening",
  LIVE: "live",
  CHECKING: "checking",
  FORBIDDEN: "forbidden",
});

const OPEN_TIMEOUT = 10_000;
const REPLY_TIMEOUT = 5_000;
/** A server that stops tells all clients when to come back; they must not come in one moment. */
const SPREAD = 1_000;
/** Mostly one connection broke, and not the server: the first attempt may come so soon. */
const AT_ONCE = 200;
/** A session that is over opens nothing: who finds that it is not over calls `check`. */
const RETRY_AFTER_LOGOUT = 15_000;
/** After so long without a frame to the server it is asked for a sign of life. */
const PING_INTERVAL = 25_000;
const TICK = 5_000;
/** A clock that jumps by so much says that the computer has slept. */
const SLEEP_THRESHOLD = 3 * TICK;

const INBOX = "inbox";
const ALIVE = "alive";
const CHAT = "chat:";
/** The code of a closed connection, for when the event "end" did not get through. */
/** @type {Record<number, string>} */
const CLOSE_REASONS = { 4401: "session_ended", 4403: "forbidden", 4408: "too_slow", 1012: "restarting", 1008: "too_slow" };

/**
 * @typedef {object} Frame What the server sends.
 * @property {string} event
 * @property {string | number} [ref] the `ref` of the frame that it replies to
 * @property {any} data
 */

/**
 * @typedef {object} Options
 * @property {() => string} url
 * @property {() => string[]} [protocols] what is offered to the server
 * @property {(chatId: string) => number | null} lastSeq the seq after which messages are wanted
 * @property {number} firstRetry milliseconds after the first failure
 * @property {number} [maxRetry]
 * @property {number | null} [stableAfter] a connection that was live for so many milliseconds
 *   and is lost is opened again almost at once; null: never
 * @property {number} [pingIntervalHidden] PING_INTERVAL while the tab is hidden
 * @property {boolean} [trustsOffline] whether to close while the browser says that it is offline
 * @property {() => boolean} [isBlocked] whether no attempt makes sense just now
 */

/**
 * Emits "event" (Frame), "up" and "down", "state", "ended" (why the server has ended it),
 * "refused" (the id of a chat that may not be subscribed to), and "watch" (the id of the chat
 * that is subscribed to from now on, or null).
 */
export class LiveConnection extends Emitter {
  /** @type {string} */
  state = ConnectionState.STOPPED;
  /** How many attempts in a row have failed. */
  failures = 0;
  /** The chat that is subscribed to beside the inbox. @type {string | null} */
  chatId = null;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #ticker;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #deadline;
  #listening = new AbortController();
  #liveSince = 0;
  #lastSentAt = 0;
  #tickedAt = 0;
  /** What waits for a reply, by the `ref` that the reply repeats. @type {Map<number, (frame: Frame | null) => void>} */
  #unanswered = new Map();
  #refs = 0;
  #options;

  /** @param {Options} options */
  constructor(options) {
    super();
    this.#options = options;
  }

  /** Whether events come in by themselves. */
  get isLive() {
    return this.state === ConnectionState.LIVE || this.state === ConnectionState.CHECKING;
  }

  start() {
    if (this.state !== ConnectionState.STOPPED) return;
    this.state = ConnectionState.WAITING;
    this.failures = 0;
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    const check = () => this.check();
    const hide = () => this.pause();
    document.addEventListener("visibilitychange", () => this.#onVisibility(), { signal });
    document.addEventListener("securitypolicyviolation", (event) => this.#onViolation(event), { signal });
    window.addEventListener("online", check, { signal });
    window.addEventListener("offline", () => this.#onOffline(), { signal });
    // An open socket would keep a page that is left from being kept for the way back.
    window.addEventListener("pagehide", hide, { signal });
    window.addEventListener("pageshow", (event) => event.persisted && this.check(), { signal });
    this.#open();
    this.#scheduleTick();
  }

  stop() {
    this.#listening.abort();
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#ticker);
    if (this.state !== ConnectionState.FORBIDDEN) this.#close(ConnectionState.STOPPED);
  }

  /**
   * Be without a connection, and open one again after `milliseconds`, or when `check` is called.
   *
   * @param {number} [milliseconds]
   */
  pause(milliseconds) {
    clearTimeout(this.#retryTimer);
    if (this.state === ConnectionState.STOPPED || this.state === ConnectionState.FORBIDDEN) return;
    this.#close(ConnectionState.WAITING);
    if (milliseconds !== undefined) this.#retryTimer = setTimeout(() => this.#open(), milliseconds);
  }

  /** Be without a connection while the session ends. */
  pauseAfterLogout() {
    this.pause(RETRY_AFTER_LOGOUT);
  }

  /** There is reason to doubt, or to hope: ask for a sign of life, or open a connection now. */
  check() {
    if (this.state === ConnectionState.LIVE) this.#ping();
    else if (this.state === ConnectionState.WAITING) this.#open();
  }

  /**
   * Subscribe to this chat beside the inbox, or to none.
   *
   * @param {string | null} chatId
   */
  watch(chatId) {
    if (chatId === this.chatId) return;
    const left = this.chatId;
    this.chatId = chatId;
    this.emit("watch", chatId);
    if (left) this.send({ type: "unsubscribe", chatId: left });
    this.#subscribe();
  }

  /**
   * Send a frame; false when there is no connection.
   *
   * @param {object} frame
   */
  send(frame) {
    const socket = this.#socket;
    if (!socket || socket.readyState !== socket.OPEN) return false;
    this.#lastSentAt = Date.now();
    socket.send(encode(frame));
    return true;
  }

  /**
   * Send a frame and return the reply, "ok" or "problem"; null when the connection is lost before.
   *
   * @param {object} frame
   * @returns {Promise<Frame | null>}
   */
  ask(frame) {
    this.#refs += 1;
    const ref = this.#refs;
    return new Promise((resolve) => {
      if (this.send({ ...frame, ref })) this.#unanswered.set(ref, resolve);
      else resolve(null);
    });
  }

  #open() {
    clearTimeout(this.#retryTimer);
    if (this.state !== ConnectionState.WAITING || !window.WebSocket) return;
    const { url, protocols = () => [], trustsOffline = false, isBlocked = () => false, firstRetry } = this.#options;
    if (trustsOffline && !navigator.onLine) return; // The event "online" tries again.
    if (isBlocked()) {
      this.#retryTimer = setTimeout(() => this.#open(), firstRetry);
      return;
    }
    let socket;
    try {
      socket = new WebSocket(url(), protocols());
    } catch {
      this.#forbid();
      return;
    }
    this.#socket = socket;
    this.#expectReplyWithin(OPEN_TIMEOUT);
    socket.onopen = () => {
      // The chat first: when the inbox is confirmed, both are.
      this.#subscribe();
      this.send({ type: "subscribe", chatId: null, ref: INBOX });
    };
    socket.onmessage = ({ data }) => this.#onFrame(JSON.parse(data));
    socket.onclose = ({ code }) => {
      if (CLOSE_REASONS[code]) this.#onEnd({ code: CLOSE_REASONS[code] });
      else this.#reconnect();
    };
    this.#become(ConnectionState.OPENING);
  }

  #subscribe() {
    const { chatId } = this;
    if (chatId) this.send({ type: "subscribe", chatId, after: this.#options.lastSeq(chatId), ref: CHAT + chatId });
  }

  /** @param {Frame} frame */
  #onFrame(frame) {
    const { event, ref, data } = frame;
    // Until the inbox is confirmed, no other frame is the reply that is awaited.
    if (this.isLive || ref === INBOX) clearTimeout(this.#deadline);
    if (this.state === ConnectionState.CHECKING) this.#become(ConnectionState.LIVE);
    if (event === "ok" || event === "problem") {
      this.#answer(frame);
      if (event === "problem") this.#onProblem(ref, data);
      else if (ref === INBOX && !this.isLive) this.#onConfirmed();
    } else if (event === "end") {
      this.#onEnd(data);
    } else {
      this.emit("event", frame);
    }
  }

  /** @param {Frame} frame */
  #answer(frame) {
    if (typeof frame.ref !== "number") return;
    this.#unanswered.get(frame.ref)?.(frame);
    this.#unanswered.delete(frame.ref);
  }

  #onConfirmed() {
    this.#liveSince = Date.now();
    this.#become(ConnectionState.LIVE);
  }

  /**
   * @param {string | number | undefined} ref
   * @param {{ status: number, retryAfter?: number | null }} problem
   */
  #onProblem(ref, { status, retryAfter = null }) {
    const chatId = typeof ref === "string" && ref.startsWith(CHAT) ? ref.slice(CHAT.length) : null;
    if (chatId && (status === 403 || status === 404)) this.emit("refused", chatId);
    else if (chatId || ref === INBOX || ref === ALIVE) {
      const { firstRetry } = this.#options;
      this.#reconnect(retryAfter === null ? undefined : backoff(1, firstRetry, { retryAfter }));
    }
  }

  /**
   * The server has said its last word.
   *
   * @param {{ code: string, retryAfter?: number }} end
   */
  #onEnd({ code, retryAfter = 0 }) {
    const delay = code === "session_ended" ? RETRY_AFTER_LOGOUT : retryAfter * 1000;
    this.#reconnect(delay + Math.random() * SPREAD);
    this.emit("ended", code);
  }

  /**
   * Give the connection up and open another: later after each failure, or after `delay`.
   *
   * @param {number} [delay]
   */
  #reconnect(delay) {
    if (this.state === ConnectionState.STOPPED || this.state === ConnectionState.FORBIDDEN) return;
    const { firstRetry, maxRetry, stableAfter = null } = this.#options;
    const wasStable = this.isLive && Date.now() - this.#liveSince > (stableAfter ?? -1);
    const atOnce = wasStable && stableAfter !== null;
    this.failures = wasStable ? Number(!atOnce) : this.failures + 1;
    const pause = atOnce ? Math.random() * AT_ONCE : backoff(this.failures, firstRetry, { max: maxRetry });
    this.pause(delay ?? pause);
  }

  /** @param {string} state what it is then */
  #close(state) {
    clearTimeout(this.#deadline);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    const waiting = [...this.#unanswered.values()];
    this.#unanswered.clear();
    for (const resolve of waiting) resolve(null);
    this.#become(state);
  }

  /** @param {string} state */
  #become(state) {
    const wasLive = this.isLive;
    this.state = state;
    if (wasLive !== this.isLive) this.emit(wasLive ? "down" : "up");
    this.emit("state", state);
  }

  /** The page's policy does not allow the connection, and will not while it is open. */
  #forbid() {
    clearTimeout(this.#retryTimer);
    this.#close(ConnectionState.FORBIDDEN);
  }

  /** @param {SecurityPolicyViolationEvent} event */
  #onViolation({ blockedURI }) {
    const { origin } = new URL(this.#options.url());
    if (blockedURI.startsWith(origin) && this.state !== ConnectionState.FORBIDDEN) this.#forbid();
  }

  #onOffline() {
    if (this.#options.trustsOffline) this.#reconnect(backoff(1, this.#options.firstRetry));
    else this.check();
  }

  #onVisibility() {
    if (!document.hidden) this.check();
    this.#scheduleTick();
  }

  #scheduleTick() {
    clearTimeout(this.#ticker);
    this.#tickedAt = Date.now();
    this.#ticker = setTimeout(() => this.#tick(), document.hidden ? this.#pingInterval : TICK);
  }

  #tick() {
    const now = Date.now();
    const hasSlept = now - this.#tickedAt > SLEEP_THRESHOLD && !document.hidden;
    if (hasSlept) this.check();
    else if (this.state === ConnectionState.LIVE && now - this.#lastSentAt > this.#pingInterval) this.#ping();
    this.#scheduleTick();
  }

  get #pingInterval() {
    return document.hidden ? this.#options.pingIntervalHidden ?? PING_INTERVAL : PING_INTERVAL;
  }

  /** The protocol's own pings are hidden from scripts; subscribing to the inbox again costs as little. */
  #ping() {
    this.send({ type: "subscribe", chatId: null, ref: ALIVE });
    this.#expectReplyWithin(REPLY_TIMEOUT);
    this.#become(ConnectionState.CHECKING);
  }

  /** @param {number} milliseconds */
  #expectReplyWithin(milliseconds) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#reconnect(), milliseconds);
  }
}
