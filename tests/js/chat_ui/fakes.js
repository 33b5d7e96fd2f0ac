/** What the modules of the chat stand on, without a server: an API that the test answers, and data. */

import { NetworkError } from "../../../chat_ui/static/api.js";
import { Emitter } from "../../../web/static/emitter.js";

/** @import { Chat, ChatWithMessages, Message, User } from "../../../web/types/api.d.ts" */

export const ANA = /** @type {User} */ ({ _id: "ana", name: "Ana Souza", email: "ana@example.com", role: "user", image: null });

/**
 * @param {Partial<Chat>} [fields]
 * @returns {Chat}
 */
export function chat(fields = {}) {
  return {
    _id: "c1",
    userId: "ana",
    subject: "Parcel",
    status: "active",
    category: "general",
    adminName: null,
    adminImage: null,
    lastMessage: null,
    lastMessageAt: "2026-11-20T10:00:00Z",
    updatedAt: "2026-11-20T10:00:00Z",
    solvedAt: null,
    unreadCount: 0,
    lastSeq: 0,
    ...fields,
  };
}

/**
 * @param {number} seq
 * @param {Partial<Message>} [fields]
 * @returns {Message}
 */
export function message(seq, fields = {}) {
  return {
    chatId: "c1",
    seq,
    senderId: "marta",
    senderName: "Marta",
    senderImage: null,
    senderRole: "admin",
    content: `text ${seq}`,
    timestamp: "2026-11-20T10:00:00Z",
    isRead: false,
    deletedAt: null,
    ...fields,
  };
}

/** Messages with these numbers. @param {number} from @param {number} to */
export function messages(from, to) {
  return Array.from({ length: to - from + 1 }, (_, i) => message(from + i));
}

/** @typedef {{ status?: number, data?: any, etag?: string | null, headers?: Record<string, string> }} Reply */

/** An Api whose answers the test gives: a value, an error, or a function that returns either. */
export class FakeApi {
  expectedUser = null;
  onIdentityChanged = null;
  onContact = null;
  origin = "https://chat.example";
  socketUrl = "wss://chat.example/api/ws";
  auth = { token: null, protocols: () => ["chat.v1"], renew: () => undefined };
  /** What was asked: {method, path, body, etag}. @type {any[]} */
  asked = [];
  /** By "METHOD /path". @type {Map<string, Reply | Error | ((asked: any) => Reply | Error | Promise<Reply>)>} */
  replies = new Map();

  /** @param {string} path @param {any} [options] */
  get(path, options) {
    return this.request("GET", path, options);
  }

  /** @param {string} path @param {any} [body] @param {any} [options] */
  post(path, body = {}, options = {}) {
    return this.request("POST", path, { ...options, body });
  }

  /** @param {string} method @param {string} path @param {any} [options] */
  async request(method, path, options = {}) {
    const asked = { method, path, body: options.body, etag: options.etag };
    this.asked.push(asked);
    const reply = this.replies.get(`${method} ${path}`) ?? new NetworkError();
    const given = await (typeof reply === "function" ? reply(asked) : reply);
    if (given instanceof Error) throw given;
    const { status = 200, data = null, etag = null, headers = {} } = given;
    return { status, data, etag, headers: new Headers(headers) };
  }

  /** The paths that were asked for since the last call. */
  take() {
    return this.asked.splice(0).map(({ method, path }) => `${method} ${path}`);
  }
}

/** A session that is open for Ana. */
export class FakeSession extends Emitter {
  state = "signed-in";
  /** @type {User | null} */
  user = ANA;
  checks = 0;

  async check() {
    this.checks += 1;
  }

  expire() {
    this.state = "expired";
  }
}

/** LocalStore without a browser; `touch` is what another tab does to it. */
export class FakeStorage {
  /** @type {Map<string, any>} */
  values = new Map();
  /** @type {((key: string) => void)[]} */
  #listeners = [];

  /** @param {string} key */
  get(key) {
    return this.values.has(key) ? structuredClone(this.values.get(key)) : null;
  }

  /** @param {string} key @param {unknown} value */
  set(key, value) {
    this.values.set(key, structuredClone(value));
  }

  /** @param {string} key */
  remove(key) {
    this.values.delete(key);
  }

  keys(start = "") {
    return [...this.values.keys()].filter((key) => key.startsWith(start));
  }

  /** @param {(key: string) => void} listener */
  onChange(listener) {
    this.#listeners.push(listener);
    return () => undefined;
  }

  /** @param {string} key @param {unknown} value null removes it */
  touch(key, value) {
    if (value === null) this.remove(key);
    else this.set(key, value);
    for (const listener of this.#listeners) listener(key);
  }
}

/** What tests of modules that only need a part of these types pass on. @param {unknown} fake @returns {any} */
export const as = (fake) => fake;
