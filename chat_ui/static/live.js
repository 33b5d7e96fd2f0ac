/**
 * The live connection: one WebSocket a tab, for the inbox and the open chat.
 *
 * A WebSocket, because a browser allows some two hundred of them to a host and only six
 * event streams over HTTP/1.1: the seventh tab would wait for ever. It also takes a token
 * where no header can be set, and carries what is told to the server.
 *
 * It promises nothing: what it brings may have gaps, and it may be dead without a sign.
 * Whoever uses it fetches after "up" and goes on asking now and then.
 */

import { ApiError, NetworkError } from "./api.js";
import { Emitter } from "./events.js";
import { encode } from "./json.js";
import { backoff } from "./poller.js";

const OPEN_TIMEOUT = 10_000;
const FIRST_RETRY = 1_500;
/** A server that stops says to all when to come back; they must not come in one moment. */
const SPREAD = 1_000;
/** A session that is over opens nothing: whoever finds it is not over calls `check`. */
const RETRY_AFTER_LOGOUT = 15_000;
/** Silence of ours after which the server is asked for a sign of life. */
const PING_INTERVAL = 25_000;
const PING_INTERVAL_HIDDEN = 60_000;
const REPLY_TIMEOUT = 5_000;
/** How often the clock is looked at: this finds that the computer has slept. */
const TICK = 5_000;

const INBOX = "inbox";
const SIGN_OF_LIFE = "alive";
const CHAT = "chat:";
/** What the code of a closed connection says where the last event did not get through. */
const CLOSE_REASONS = { 4401: "session_ended", 4403: "forbidden", 4408: "too_slow", 1012: "restarting", 1008: "too_slow" };

/**
 * Emits "event" ({event, data}), "up", "down", "ended" (the code of the server's last event),
 * and "refused" (the id of a chat that may not be listened to).
 */
export class Live extends Emitter {
  /** True while news come in by themselves. */
  isUp = false;
  #socket = null;
  #started = false;
  #failures = 0;
  #timer = null;
  #ticker = null;
  #deadline = null;
  #lastSentAt = 0;
  #chatId = null;
  #forbidden = false;
  /** What waits for an answer, by the `ref` that the answer repeats. */
  #asked = new Map();
  #refs = 0;

  /** `place(chatId)` returns the seq after which a chat's messages are wanted, or null. */
  constructor({ api, place }) {
    super();
    this.api = api;
    this.place = place;
    this.seen = () => {
      if (!document.hidden) this.check();
      this.#tick();
    };
    this.online = () => this.check();
    this.offline = () => this.#reconnect(backoff(1, FIRST_RETRY));
    this.hidden = () => this.#closeSocket();
    this.violation = (event) => {
      if (event.blockedURI.startsWith(new URL(this.api.socketUrl).origin)) this.#forbid();
    };
  }

  start() {
    if (this.#started) return;
    this.#started = true;
    this.#failures = 0;
    document.addEventListener("visibilitychange", this.seen);
    document.addEventListener("securitypolicyviolation", this.violation);
    window.addEventListener("online", this.online);
    window.addEventListener("offline", this.offline);
    // A page that is left must not be kept from being kept: an open socket would.
    window.addEventListener("pagehide", this.hidden);
    window.addEventListener("pageshow", this.online);
    this.#connect();
    this.#tick();
  }

  stop() {
    this.#started = false;
    this.#closeSocket();
    clearTimeout(this.#timer);
    clearTimeout(this.#ticker);
    document.removeEventListener("visibilitychange", this.seen);
    document.removeEventListener("securitypolicyviolation", this.violation);
    window.removeEventListener("online", this.online);
    window.removeEventListener("offline", this.offline);
    window.removeEventListener("pagehide", this.hidden);
    window.removeEventListener("pageshow", this.online);
  }

  /** Listen to this chat beside the inbox, or to none. */
  watch(chatId) {
    if (chatId === this.#chatId) return;
    const left = this.#chatId;
    this.#chatId = chatId;
    if (left) this.send({ type: "unsubscribe", chatId: left });
    this.#subscribe();
  }

  /** Tell the server something; false when there is no connection. */
  send(frame) {
    const socket = this.#socket;
    if (!socket || socket.readyState !== socket.OPEN) return false;
    this.#lastSentAt = Date.now();
    socket.send(encode(frame));
    return true;
  }

  /** Tell the server something and wait until it has done it. Throws ApiError, NetworkError. */
  ask(frame) {
    this.#refs += 1;
    const ref = this.#refs;
    return new Promise((resolve, reject) => {
      if (!this.send({ ...frame, ref })) reject(new NetworkError());
      else this.#asked.set(ref, { resolve, reject });
    });
  }

  /** There is reason to doubt: ask for a sign of life, or try to connect now. */
  check() {
    if (!this.#started) return;
    if (this.isUp) this.#ping();
    else if (!this.#socket) this.#connect();
  }

  #connect() {
    clearTimeout(this.#timer);
    if (!this.#started || this.#socket || this.#forbidden || !window.WebSocket) return;
    if (!navigator.onLine) return; // The event "online" tries again.
    let socket;
    try {
      socket = new WebSocket(this.api.socketUrl, this.api.auth.protocols());
    } catch {
      this.#forbid();
      return;
    }
    this.#socket = socket;
    this.#expectReplyWithin(OPEN_TIMEOUT);
    // The chat first: when the inbox is confirmed, both are.
    socket.onopen = () => {
      this.#subscribe();
      this.send({ type: "subscribe", chatId: null, ref: INBOX });
    };
    socket.onmessage = ({ data }) => this.#onMessage(JSON.parse(data));
    socket.onclose = ({ code }) => {
      if (CLOSE_REASONS[code]) this.#onEnd({ code: CLOSE_REASONS[code] });
      else this.#reconnect();
    };
  }

  #subscribe() {
    const chatId = this.#chatId;
    if (chatId) this.send({ type: "subscribe", chatId, after: this.place(chatId), ref: CHAT + chatId });
  }

  #onMessage({ event, ref, data }) {
    // Until the inbox is confirmed, other frames are not yet the answer that is awaited.
    if (this.isUp || ref === INBOX) {
      clearTimeout(this.#deadline);
      this.#deadline = null;
    }
    if (event === "ok") this.#onConfirmed(ref, data);
    else if (event === "problem") this.#onProblem(ref, data);
    else if (event === "end") this.#onEnd(data);
    else this.emit("event", { event, data });
  }

  #onConfirmed(ref, data) {
    this.#asked.get(ref)?.resolve(data);
    this.#asked.delete(ref);
    if (ref !== INBOX || this.isUp) return;
    this.isUp = true;
    this.#failures = 0;
    this.emit("up");
  }

  #onProblem(ref, problem) {
    const { status, retryAfter = null } = problem;
    this.#asked.get(ref)?.reject(new ApiError(status, problem, retryAfter));
    this.#asked.delete(ref);
    const about = typeof ref === "string" && ref.startsWith(CHAT) ? ref.slice(CHAT.length) : null;
    if (about && (status === 403 || status === 404)) this.emit("refused", about);
    else if (about || ref === INBOX) this.#reconnect(retryAfter === null ? undefined : backoff(1, FIRST_RETRY, retryAfter));
  }

  /** The server has said its last word. */
  #onEnd({ code, retryAfter = 0 }) {
    const pause = code === "session_ended" ? RETRY_AFTER_LOGOUT : retryAfter * 1000;
    this.#reconnect(pause + Math.random() * SPREAD);
    this.emit("ended", code);
  }

  /** The connection is of no use any more; come back, later after each failure. */
  #reconnect(wait) {
    const wasUp = this.isUp;
    this.#closeSocket();
    if (!this.#started) return;
    this.#failures = wasUp ? 1 : this.#failures + 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), wait ?? backoff(this.#failures, FIRST_RETRY));
  }

  #closeSocket() {
    clearTimeout(this.#deadline);
    this.#deadline = null;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    const unanswered = [...this.#asked.values()];
    this.#asked.clear();
    for (const { reject } of unanswered) reject(new NetworkError());
    if (!this.isUp) return;
    this.isUp = false;
    this.emit("down");
  }

  /** The page's policy does not allow the connection, and will not while it is open. */
  #forbid() {
    if (this.#forbidden) return;
    this.#forbidden = true;
    console.warn(`Support chat: messages arrive later than they could. Allow ${new URL(this.api.socketUrl).origin} in this page's connect-src.`);
    this.#closeSocket();
    clearTimeout(this.#timer);
  }

  #tick() {
    clearTimeout(this.#ticker);
    if (!this.#started) return;
    const interval = document.hidden ? PING_INTERVAL_HIDDEN : PING_INTERVAL;
    if (this.isUp && Date.now() - this.#lastSentAt > interval) this.#ping();
    this.#ticker = setTimeout(() => this.#tick(), document.hidden ? PING_INTERVAL_HIDDEN : TICK);
  }

  /** The protocol's own pings are hidden from scripts; asking for the inbox again costs as little. */
  #ping() {
    if (this.#deadline) return;
    this.send({ type: "subscribe", chatId: null, ref: SIGN_OF_LIFE });
    this.#expectReplyWithin(REPLY_TIMEOUT);
  }

  #expectReplyWithin(milliseconds) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#reconnect(), milliseconds);
  }
}
