/** Unsent messages: kept, in order, sent once, and tried again. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError, NetworkError } from "../../../chat_ui/static/api.js";
import { Outbox } from "../../../chat_ui/static/outbox.js";
import { Store } from "../../../chat_ui/static/store.js";
import { settle, useBrowser } from "../browser.js";
import { FakeApi, FakeSession, FakeStorage, as, chat, message } from "./fakes.js";

const MESSAGES = "POST /api/chat/c1/messages";

/** @param {import("node:test").TestContext} context */
function make(context, { storage = new FakeStorage() } = {}) {
  const browser = useBrowser(context, { random: 1 });
  const api = new FakeApi();
  const store = new Store();
  store.applyChat({ ...chat(), messages: [] });
  const session = new FakeSession();
  const outbox = new Outbox(as({ api, storage, store, session }));
  /** @type {any[]} */
  const emitted = [];
  for (const name of ["refused", "behind"]) outbox.on(name, (detail) => emitted.push(name === "refused" ? [name, detail.problem] : [name]));
  const states = () => outbox.entries("c1").map(({ content, state }) => [content, state]);
  return { api, store, storage, session, outbox, emitted, states, clock: browser.clock };
}

/** A server that keeps what it is sent. @param {FakeApi} api */
function accepting(api) {
  /** @type {any[]} */
  const kept = [];
  api.replies.set(MESSAGES, ({ body }) => {
    const known = kept.find(({ clientMessageId }) => clientMessageId === body.clientMessageId);
    if (!known) kept.push(message(kept.length + 1, { ...body, senderRole: "user", senderId: "ana" }));
    return { status: known ? 200 : 201, data: known ?? kept.at(-1) };
  });
  return kept;
}

test("messages are sent one after the other in the order they were written", async (context) => {
  const { api, outbox, states, storage, store } = make(context);
  const kept = accepting(api);
  outbox.open("ana");
  for (const text of ["first", "second", "third"]) outbox.add("c1", text);
  assert.equal(storage.keys("outbox:ana:").length, 3);
  assert.equal(api.asked.length, 1);
  await settle();
  await settle();
  assert.deepEqual(kept.map(({ content }) => content), ["first", "second", "third"]);
  assert.deepEqual(states(), []);
  assert.deepEqual(storage.keys(), []);
  assert.deepEqual(store.conversation("c1").messages.map(({ content }) => content), ["first", "second", "third"]);
});

test("while one waits, those after it wait as well, and all are tried again in order", async (context) => {
  const { api, outbox, states, clock, emitted } = make(context);
  outbox.open("ana");
  for (const text of ["first", "second"]) outbox.add("c1", text);
  await settle();
  assert.deepEqual(states(), [["first", "waiting"], ["second", "sending"]]);
  assert.equal(api.asked.length, 1);
  assert.deepEqual(emitted, [["behind"]]);

  const delays = [];
  for (const delay of [2000, 4000, 8000]) {
    api.asked.length = 0;
    clock.tick(delay - 1);
    await settle();
    assert.equal(api.asked.length, 0);
    clock.tick(1);
    await settle();
    delays.push(api.asked.length);
  }
  assert.deepEqual(delays, [1, 1, 1]);

  const kept = accepting(api);
  outbox.flush();
  await settle();
  assert.deepEqual(kept.map(({ content }) => content), ["first", "second"]);
});

test("a message whose answer was lost is sent again with the same id", async (context) => {
  const { api, outbox, states } = make(context);
  const kept = accepting(api);
  const answer = /** @type {any} */ (api.replies.get(MESSAGES));
  api.replies.set(MESSAGES, (asked) => {
    answer(asked);
    return new NetworkError();
  });
  outbox.open("ana");
  const { clientMessageId } = outbox.add("c1", "once");
  await settle();
  api.replies.set(MESSAGES, answer);
  outbox.flush();
  await settle();
  assert.deepEqual(kept.map((each) => [each.content, each.clientMessageId]), [["once", clientMessageId]]);
  assert.deepEqual(api.asked.map(({ body }) => body.clientMessageId), [clientMessageId, clientMessageId]);
  assert.deepEqual(states(), []);
});

test("one that has appeared in the history is sent, also if its request failed", async (context) => {
  const { outbox, states, store } = make(context);
  outbox.open("ana");
  const { clientMessageId } = outbox.add("c1", "there");
  await settle();
  assert.equal(outbox.size, 1);
  store.applyMessages("c1", [message(1, { clientMessageId, senderRole: "user" })]);
  assert.deepEqual(states(), []);
  assert.equal(outbox.size, 0);
});

test("a limit is waited for as long as the server asks, unless the writer does not", async (context) => {
  const { api, outbox, states, clock, emitted } = make(context);
  api.replies.set(MESSAGES, new ApiError(429, { detail: "That was too much at once." }, 600));
  outbox.open("ana");
  const { clientMessageId } = outbox.add("c1", "patient");
  await settle();
  assert.deepEqual(states(), [["patient", "waiting"]]);
  // Others may be notified; the service itself can be reached.
  assert.deepEqual(emitted, []);
  clock.tick(599_000);
  await settle();
  assert.equal(api.asked.length, 1);
  const kept = accepting(api);
  outbox.retry(clientMessageId);
  await settle();
  assert.equal(kept.length, 1);
});

test("a refused message says why, stays, and does not stop the next", async (context) => {
  const { api, outbox, states, emitted, storage } = make(context);
  const kept = accepting(api);
  const answer = /** @type {any} */ (api.replies.get(MESSAGES));
  api.replies.set(MESSAGES, (asked) => (asked.body.content === "bad" ? new ApiError(422, { fields: { content: ["Too long."] } }) : answer(asked)));
  outbox.open("ana");
  const { clientMessageId } = outbox.add("c1", "bad");
  outbox.add("c1", "good");
  await settle();
  await settle();
  assert.deepEqual(states(), [["bad", "refused"]]);
  assert.deepEqual(emitted, [["refused", "Too long."]]);
  assert.deepEqual(kept.map(({ content }) => content), ["good"]);
  outbox.discard(clientMessageId);
  assert.deepEqual(storage.keys(), []);
});

test("a session that is over stops the sending, and its account goes on with it later", async (context) => {
  const { api, outbox, states, session } = make(context);
  api.replies.set(MESSAGES, new ApiError(401, { code: "unauthorized" }));
  outbox.open("ana");
  outbox.add("c1", "mine");
  await settle();
  assert.equal(session.state, "expired");
  outbox.flush();
  await settle();
  assert.equal(api.asked.length, 1);
  assert.deepEqual(states(), [["mine", "waiting"]]);
  const kept = accepting(api);
  outbox.open("ana");
  await settle();
  assert.equal(kept.length, 1);
});

test("what one account wrote is never sent by another, and survives a reload", async (context) => {
  const storage = new FakeStorage();
  const first = make(context, { storage });
  first.outbox.open("ana");
  first.outbox.add("c1", "Ana's");
  await settle();
  first.outbox.close();

  const api = new FakeApi();
  const kept = accepting(api);
  const parts = { api, storage, store: first.store, session: new FakeSession() };
  const second = new Outbox(as(parts));
  second.open("ben");
  await settle();
  assert.deepEqual(kept, []);
  second.open("ana");
  await settle();
  assert.deepEqual(kept.map(({ content }) => content), ["Ana's"]);
});

test("a message of another tab is left to that tab for eight seconds", async (context) => {
  const { api, outbox, storage, clock, states } = make(context);
  const kept = accepting(api);
  outbox.open("ana");
  const entry = { clientMessageId: "x", chatId: "c1", content: "elsewhere", createdAt: "2026-01-01", position: 1, state: "sending", problem: null };
  storage.touch("outbox:ana:x", entry);
  clock.tick(7999);
  await settle();
  assert.deepEqual(kept, []);
  clock.tick(1);
  await settle();
  assert.deepEqual(kept.map(({ content }) => content), ["elsewhere"]);

  storage.touch("outbox:ana:y", { ...entry, clientMessageId: "y" });
  storage.touch("outbox:ana:y", null);
  clock.tick(8000);
  await settle();
  assert.equal(kept.length, 1);
  assert.deepEqual(states(), []);
});

test("one that is confirmed before those ahead of it are loaded is shown until they are", async (context) => {
  const { api, outbox, states, emitted, store } = make(context);
  api.replies.set(MESSAGES, ({ body }) => ({ data: message(5, { ...body, senderRole: "user" }) }));
  outbox.open("ana");
  const { clientMessageId } = outbox.add("c1", "fifth");
  await settle();
  assert.deepEqual(states(), [["fifth", "sent"]]);
  assert.deepEqual(emitted, [["behind"]]);
  assert.equal(outbox.size, 0);
  store.applyMessages("c1", [1, 2, 3, 4].map((seq) => message(seq)).concat(message(5, { clientMessageId, senderRole: "user" })));
  assert.deepEqual(states(), []);
});
