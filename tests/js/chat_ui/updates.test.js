/** How the store is kept equal to the server: what is fetched, when, and what events lead to. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError, NetworkError } from "../../../chat_ui/static/api.js";
import { Store } from "../../../chat_ui/static/store.js";
import { Updates } from "../../../chat_ui/static/updates.js";
import { Emitter } from "../../../web/static/emitter.js";
import { settle, useBrowser } from "../browser.js";
import { FakeApi, FakeSession, as, chat, message, messages } from "./fakes.js";

const LIST = "GET /api/chat";
const OPEN = "GET /api/chat/c1?messages=50";

/** @param {import("node:test").TestContext} context */
function make(context) {
  const browser = useBrowser(context, { random: 0.5 });
  const api = new FakeApi();
  const store = new Store();
  const session = new FakeSession();
  const connection = Object.assign(new Emitter(), { state: "online" });
  api.replies.set(LIST, { data: [chat()], etag: '"list"' });
  api.replies.set(OPEN, { data: { ...chat({ lastSeq: 2 }), messages: messages(1, 2) }, etag: '"open"' });
  const updates = new Updates(as({ api, store, session, connection }));
  return { browser, clock: browser.clock, api, store, session, connection, updates };
}

/** Begin without a live connection. @param {ReturnType<typeof make>} parts */
async function poll({ updates }) {
  updates.poller.start();
  await settle();
}

/** Begin with a live connection that is confirmed. @param {ReturnType<typeof make>} parts */
async function connect({ browser, updates, api }) {
  updates.start();
  await settle();
  browser.socket().accept();
  browser.socket().receive({ event: "ok", ref: "inbox", data: {} });
  await settle();
  api.take();
}

/**
 * @param {ReturnType<typeof make>} parts
 * @param {string} event
 * @param {object} data
 */
async function receive({ browser }, event, data) {
  browser.socket().receive({ event, data });
  await settle();
}

/**
 * How often the list is asked for within a time.
 *
 * @param {ReturnType<typeof make>} parts
 * @param {number} milliseconds
 */
async function polls({ clock, api }, milliseconds) {
  api.take();
  for (let passed = 0; passed < milliseconds; passed += 500) {
    clock.tick(500);
    await settle();
  }
  return api.take().filter((asked) => asked === LIST).length;
}

test("without a live connection it polls every three seconds, in a hidden tab every thirty", async (context) => {
  const parts = make(context);
  await poll(parts);
  assert.equal(await polls(parts, 30_000), 10);
  parts.browser.hide(true);
  assert.equal(await polls(parts, 29_500), 0);
  assert.equal(await polls(parts, 500), 1);
  parts.browser.hide(false);
  await settle();
  assert.deepEqual(parts.api.take(), [LIST]);
});

test("a folded widget polls every six seconds, and only for what is unread", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  await poll(parts);
  parts.updates.fold(true);
  parts.api.take();
  assert.equal(await polls(parts, 36_000), 6);
  parts.updates.fold(false);
  await settle();
  assert.deepEqual(parts.api.take(), [LIST, OPEN]);
});

test("a live page still makes sure once a minute, a hidden one every five minutes", async (context) => {
  const parts = make(context);
  await connect(parts);
  // The server is there: each frame is a sign of life.
  const socket = parts.browser.socket();
  socket.send = (text) => {
    const { ref } = JSON.parse(text);
    if (ref === "alive") queueMicrotask(() => socket.receive({ event: "ok", ref, data: {} }));
  };
  assert.equal(await polls(parts, 59_000), 0);
  assert.equal(await polls(parts, 1000), 1);
  parts.browser.hide(true);
  assert.equal(await polls(parts, 299_000), 0);
  assert.equal(await polls(parts, 2000), 1);
});

test("what has not changed costs a 304 and changes nothing", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  await poll(parts);
  const before = parts.store.now;
  for (const path of [LIST, OPEN]) parts.api.replies.set(path, { status: 304 });
  parts.api.asked.length = 0;
  await parts.updates.refresh();
  assert.deepEqual(parts.api.asked.map(({ path, etag }) => [path, etag]), [["/api/chat", '"list"'], ["/api/chat/c1?messages=50", '"open"']]);
  assert.equal(parts.store.now, before);
});

test("after a cut everything on the screen is asked for without an ETag", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  await poll(parts);
  parts.api.asked.length = 0;
  await parts.updates.resync();
  assert.deepEqual(parts.api.asked.slice(0, 2).map(({ etag }) => etag), [null, null]);
});

test("a gap that is longer than a page is filled before anything of it is shown", async (context) => {
  const parts = make(context);
  const { api, store } = parts;
  parts.updates.open("c1");
  await poll(parts);
  api.replies.set(OPEN, { data: { ...chat({ lastSeq: 500, updatedAt: "2026-11-21" }), messages: messages(451, 500) }, etag: '"2"' });
  api.replies.set("GET /api/chat/c1/messages?after=2&limit=200", { data: messages(3, 202) });
  api.replies.set("GET /api/chat/c1/messages?after=202&limit=200", { data: messages(203, 402) });
  api.replies.set("GET /api/chat/c1/messages?after=402&limit=200", { data: messages(403, 500) });
  /** @type {number[]} */
  const seen = [];
  store.on("messages", () => seen.push(store.conversation("c1").newest));
  await parts.updates.refresh();
  assert.deepEqual(seen, [500]);
  assert.deepEqual(store.conversation("c1").messages.map(({ seq }) => seq), messages(1, 500).map(({ seq }) => seq));
});

test("messages appear by events alone", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  await connect(parts);
  await receive(parts, "message", message(3));
  assert.equal(parts.store.conversation("c1").newest, 3);
  assert.deepEqual(parts.api.take(), []);
});

test("an event that was lost is fetched, once for each number that is promised", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  await connect(parts);
  const later = chat({ lastSeq: 4, updatedAt: "2026-11-21" });
  parts.api.replies.set(OPEN, { data: { ...later, messages: messages(1, 4) }, etag: '"2"' });
  await receive(parts, "message", message(4));
  assert.deepEqual(parts.api.take(), [LIST, OPEN]);
  assert.equal(parts.store.conversation("c1").newest, 4);

  // A server that promises more than it gives is not asked again and again.
  const more = { ...later, lastSeq: 9, updatedAt: "2026-11-22" };
  await receive(parts, "chat", more);
  assert.deepEqual(parts.api.take(), [LIST, OPEN]);
  await receive(parts, "chat", { ...more, updatedAt: "2026-11-23" });
  assert.deepEqual(parts.api.take(), []);
});

test("a chat that is not open is followed by its events", async (context) => {
  const parts = make(context);
  await connect(parts);
  await receive(parts, "chat", chat({ unreadCount: 3, lastSeq: 3, updatedAt: "2026-11-21" }));
  assert.equal(parts.store.unread, 3);
  await receive(parts, "deleted", { chatId: "c1", seq: null });
  assert.equal(parts.store.chat("c1"), null);
  assert.deepEqual(parts.api.take(), []);
});

test("a message that was deleted is fetched again if it is loaded", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  await connect(parts);
  const tombstone = message(2, { content: "gone", deletedAt: "2026-11-21" });
  parts.api.replies.set("GET /api/chat/c1/messages?after=1&limit=1", { data: [tombstone] });
  await receive(parts, "deleted", { chatId: "c1", seq: 2 });
  assert.equal(parts.store.conversation("c1").messages[1].content, "gone");
  parts.api.take();
  await receive(parts, "deleted", { chatId: "c1", seq: 99 });
  assert.deepEqual(parts.api.take(), []);
});

test("what agents have read is shown, what users have read is not", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  const own = message(2, { senderRole: "user" });
  parts.api.replies.set(OPEN, { data: { ...chat({ lastSeq: 2 }), messages: [message(1), own] }, etag: '"open"' });
  await connect(parts);
  await receive(parts, "read", { chatId: "c1", seq: 2, readerRole: "user" });
  assert.equal(parts.store.conversation("c1").messages[1].isRead, false);
  await receive(parts, "read", { chatId: "c1", seq: 2, readerRole: "admin" });
  assert.equal(parts.store.conversation("c1").messages[1].isRead, true);
});

test("an agent who types is named until the message, or six seconds of silence", async (context) => {
  const parts = make(context);
  const { updates, clock } = parts;
  updates.open("c1");
  await connect(parts);
  const typing = { chatId: "c1", senderId: "marta", senderName: "Marta" };
  await receive(parts, "typing", { ...typing, senderId: "ana" });
  assert.deepEqual(updates.signals.typing, []);
  await receive(parts, "typing", { ...typing, chatId: "c2" });
  assert.deepEqual(updates.signals.typing, []);
  await receive(parts, "typing", typing);
  assert.deepEqual(updates.signals.typing, ["Marta"]);
  await receive(parts, "message", message(3));
  assert.deepEqual(updates.signals.typing, []);

  await receive(parts, "typing", typing);
  clock.tick(5999);
  assert.deepEqual(updates.signals.typing, ["Marta"]);
  clock.tick(1);
  assert.deepEqual(updates.signals.typing, []);
});

test("agents who look at the chat are known until they leave, and users never", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  await connect(parts);
  await receive(parts, "presence", { role: "admin", chatId: "c1", online: true, userId: "marta", name: "Marta" });
  await receive(parts, "presence", { role: "user", chatId: "c1", online: true, userId: "ana", name: "Ana" });
  assert.deepEqual(parts.updates.signals.here, ["Marta"]);
  await receive(parts, "presence", { role: "admin", chatId: null, online: true, userId: "marta", name: "Marta" });
  assert.deepEqual(parts.updates.signals.here, []);
});

test("typing is sent at most every three seconds, live or over HTTP", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  await connect(parts);
  const socket = parts.browser.socket();
  const sent = () => socket.frames.filter(({ type }) => type === "typing");
  for (let key = 0; key < 10; key += 1) parts.updates.types();
  assert.deepEqual(sent(), [{ type: "typing", chatId: "c1" }]);
  parts.clock.tick(3000);
  parts.updates.types();
  assert.equal(sent().length, 2);

  socket.drop();
  parts.clock.tick(3000);
  await settle();
  parts.api.take();
  parts.updates.types();
  assert.deepEqual(parts.api.take(), ["POST /api/chat/c1/typing"]);
  parts.connection.state = "offline";
  parts.clock.tick(3000);
  await settle();
  parts.api.take();
  parts.updates.types();
  assert.deepEqual(parts.api.take(), []);
});

test("reading is reported live and confirmed, and a refusal is an error of the API", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  parts.store.applyChat(chat({ unreadCount: 1, lastSeq: 2 }));
  await connect(parts);
  const socket = parts.browser.socket();
  const done = parts.updates.markRead("c1", 2);
  const frame = socket.frames.at(-1);
  assert.deepEqual(frame, { type: "read", chatId: "c1", seq: 2, ref: frame.ref });
  socket.receive({ event: "ok", ref: frame.ref, data: {} });
  await done;
  assert.equal(parts.store.unread, 0);

  const refused = parts.updates.markRead("c1", 3);
  socket.receive({ event: "problem", ref: socket.frames.at(-1).ref, data: { status: 403, code: "forbidden", detail: "No." } });
  await assert.rejects(refused, (/** @type {any} */ error) => error instanceof ApiError && error.code === "forbidden" && error.message === "No.");

  const lost = parts.updates.markRead("c1", 4);
  socket.drop();
  await assert.rejects(lost, NetworkError);
  await assert.rejects(parts.updates.markRead("c1", 4), NetworkError);
  assert.ok(parts.api.take().includes("POST /api/chat/c1/read"));
});

test("a session that is over is noticed in any answer", async (context) => {
  const parts = make(context);
  parts.api.replies.set(LIST, new ApiError(401, { code: "unauthorized" }));
  await poll(parts);
  assert.equal(parts.session.state, "expired");
});

test("a chat that is gone is removed, one that is forbidden checks the session as well", async (context) => {
  for (const [status, checks] of [[404, 0], [403, 1]]) {
    await context.test(String(status), async (inner) => {
      const parts = make(inner);
      parts.updates.open("c1");
      await poll(parts);
      parts.api.replies.set(LIST, { status: 304 });
      parts.api.replies.set(OPEN, new ApiError(status));
      await parts.updates.refresh();
      assert.equal(parts.store.chat("c1"), null);
      assert.equal(parts.session.checks, checks);
    });
  }
});

test("when the server ends the connection for the session's sake, the session is asked about", async (context) => {
  const checks = { session_ended: 1, forbidden: 1, restarting: 0, too_slow: 0 };
  for (const [code, expected] of Object.entries(checks)) {
    await context.test(code, async (inner) => {
      const parts = make(inner);
      await connect(parts);
      const before = parts.browser.socket();
      await receive(parts, "end", { code, retryAfter: 5 });
      assert.equal(parts.session.checks, expected);
      // The session is there: nothing has to be waited for.
      assert.equal(parts.browser.socket() === before, expected === 0);
    });
  }
});

test("after a connection that was lost everything is asked for again, after the first one what has changed", async (context) => {
  const parts = make(context);
  parts.updates.open("c1");
  await connect(parts);
  parts.browser.socket().drop();
  parts.clock.tick(1500);
  await settle();
  parts.api.asked.length = 0;
  parts.browser.socket().accept();
  parts.browser.socket().receive({ event: "ok", ref: "inbox", data: {} });
  await settle();
  assert.deepEqual(parts.api.asked.slice(0, 2).map(({ path, etag }) => [path, etag]), [["/api/chat", null], ["/api/chat/c1?messages=50", null]]);
});

test("another account's list or chat makes the session look who is here", async (context) => {
  const parts = make(context);
  await connect(parts);
  await receive(parts, "chat", chat({ userId: "ben" }));
  assert.equal(parts.session.checks, 1);
  parts.api.replies.set(LIST, { data: [chat({ _id: "other", userId: "ben" })] });
  await parts.updates.refresh();
  assert.equal(parts.session.checks, 2);
  assert.equal(parts.store.chat("other"), null);
});
