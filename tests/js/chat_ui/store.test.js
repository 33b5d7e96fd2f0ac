/** What the server has said, merged: nothing is lost, doubled or unread again. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Store, isOpen, isOwn, lastSeq } from "../../../chat_ui/static/store.js";
import { chat, message, messages } from "./fakes.js";

/** @param {Store} store */
function listen(store) {
  /** @type {any[]} */
  const emitted = [];
  for (const name of ["chats", "chat", "messages", "removed"]) store.on(name, (detail) => emitted.push([name, detail]));
  return emitted;
}

/** @param {Store} store */
const seqs = (store) => store.conversation("c1").messages.map(({ seq }) => seq);

const PAGE = { nextCursor: null, unreadTotal: 0, asked: 0 };

test("chats stand by their newest message, the newest first", () => {
  const store = new Store();
  store.applyFirstPage([chat({ _id: "a", lastMessageAt: "2026-01-01" }), chat({ _id: "b", lastMessageAt: "2026-01-03" }), chat({ _id: "c", lastMessageAt: "2026-01-03" })], PAGE);
  assert.deepEqual(store.chats.map(({ _id }) => _id), ["c", "b", "a"]);
});

test("an answer that was overtaken does not put an older state back", () => {
  const store = new Store();
  store.applyChat(chat({ status: "closed", updatedAt: "2026-01-02" }));
  store.applyChat(chat({ status: "active", updatedAt: "2026-01-01" }));
  assert.equal(store.chat("c1")?.status, "closed");
  store.applyChat(chat({ status: "active", updatedAt: "2026-01-03" }));
  assert.equal(store.chat("c1")?.status, "active");
});

test("messages are taken over in order and once", () => {
  const store = new Store();
  const emitted = listen(store);
  store.applyChat({ ...chat(), messages: messages(1, 3) });
  assert.deepEqual(emitted.find(([name]) => name === "messages"), ["messages", { chatId: "c1", added: [] }]);
  assert.equal(store.applyMessages("c1", [message(3), message(4)]), true);
  assert.deepEqual(emitted.at(-1)[1].added.map((/** @type {any} */ each) => each.seq), [4]);
  assert.deepEqual(seqs(store), [1, 2, 3, 4]);
});

test("messages after a gap are not taken, so that the order on the screen never has a hole", () => {
  const store = new Store();
  assert.equal(store.applyMessages("c1", [message(1)]), false);
  store.applyChat({ ...chat(), messages: messages(1, 2) });
  assert.equal(store.applyMessages("c1", [message(4)]), false);
  assert.equal(store.applyMessages("c1", [message(3), message(5)]), false);
  assert.deepEqual(seqs(store), [1, 2]);
  assert.equal(store.applyMessages("c1", [message(3), message(4)]), true);
});

test("older pages come before, and an empty one is the beginning", () => {
  const store = new Store();
  store.applyChat({ ...chat(), messages: messages(51, 60) });
  assert.equal(store.conversation("c1").hasOlder, true);
  store.applyOlder("c1", messages(2, 50));
  assert.equal(store.conversation("c1").oldest, 2);
  assert.equal(store.conversation("c1").hasOlder, true);
  store.applyOlder("c1", []);
  assert.equal(store.conversation("c1").hasOlder, false);
});

test("nothing that has been read is unread again", () => {
  const store = new Store();
  store.applyChat({ ...chat(), messages: [message(1, { senderRole: "user" }), message(2, { senderRole: "guest" }), message(3)] });
  store.applyReadByThem("c1", 2);
  assert.deepEqual(store.conversation("c1").messages.map(({ isRead }) => isRead), [true, true, false]);
  store.applyMessages("c1", [message(1, { isRead: false, content: "changed" })]);
  assert.deepEqual([store.conversation("c1").messages[0].isRead, store.conversation("c1").messages[0].content], [true, "changed"]);
});

test("a chat that was read here stays read, until there is more", () => {
  const store = new Store();
  store.applyChat(chat({ unreadCount: 2, lastSeq: 5 }));
  store.applyRead("c1", 5);
  assert.equal(store.unread, 0);
  store.applyChat(chat({ unreadCount: 2, lastSeq: 5 }));
  assert.equal(store.unread, 0);
  store.applyRead("c1", 3);
  store.applyChat(chat({ unreadCount: 1, lastSeq: 6 }));
  assert.equal(store.unread, 1);
});

test("unread messages of chats that are not loaded are the server's count", () => {
  const store = new Store();
  store.applyFirstPage([chat({ unreadCount: 1, lastSeq: 1 })], { nextCursor: "more", unreadTotal: 7, asked: 0 });
  assert.equal(store.unread, 7);
  store.applyNextPage([chat({ _id: "c2", unreadCount: 2, lastSeq: 2, lastMessageAt: "2026-01-01" })], null);
  assert.equal(store.unread, 3);
});

test("a first page removes the chats that it should hold and does not", () => {
  const store = new Store();
  const emitted = listen(store);
  store.applyFirstPage([chat({ _id: "a" }), chat({ _id: "b" })], PAGE);
  store.applyFirstPage([chat({ _id: "b" })], { ...PAGE, asked: store.now });
  assert.deepEqual(store.chats.map(({ _id }) => _id), ["b"]);
  assert.ok(emitted.some(([name, id]) => name === "removed" && id === "a"));
});

test("a first page keeps older chats that are beyond it, and those that came in since it was asked for", () => {
  const store = new Store();
  store.applyFirstPage([chat({ _id: "old", lastMessageAt: "2025-01-01" })], PAGE);
  const asked = store.now;
  store.applyChat(chat({ _id: "fresh", lastMessageAt: "2026-12-01" }));
  store.applyFirstPage([chat({ _id: "a" })], { nextCursor: "more", unreadTotal: 0, asked });
  assert.deepEqual(store.chats.map(({ _id }) => _id), ["fresh", "a", "old"]);
});

test("what came in since a page was asked for knows more than the page", () => {
  const store = new Store();
  store.applyChat(chat({ unreadCount: 1, lastSeq: 1 }));
  const asked = store.now;
  store.applyChat(chat({ unreadCount: 0, lastSeq: 1 }));
  store.applyFirstPage([chat({ unreadCount: 1, lastSeq: 1 })], { ...PAGE, asked });
  assert.equal(store.unread, 0);
});

test("a chat that was left keeps its newest fifty messages, and after a cut only the open one keeps any", () => {
  const store = new Store();
  store.applyChat({ ...chat(), messages: messages(1, 80) });
  store.applyChat({ ...chat({ _id: "c2" }), messages: [message(1, { chatId: "c2" })] });
  store.leave("c1");
  assert.deepEqual([store.conversation("c1").oldest, store.conversation("c1").newest], [31, 80]);
  store.keepOnly("c1");
  assert.equal(store.conversation("c2").loaded, false);
  assert.equal(store.conversation("c1").loaded, true);
});

test("who writes and which chats can be written to", () => {
  assert.deepEqual(["user", "guest", "admin", "system"].map((senderRole) => isOwn(/** @type {any} */ ({ senderRole }))), [true, true, false, false]);
  assert.deepEqual(["active", "pending", "closed", "archived"].map((status) => isOpen({ status })), [true, true, false, false]);
  assert.equal(lastSeq(chat({ lastSeq: 4 })), 4);
  assert.equal(lastSeq(chat({ lastSeq: undefined, messageCount: 3 })), 3);
});
