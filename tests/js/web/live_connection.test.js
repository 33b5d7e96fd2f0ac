/** The state machine of the live connection, with a clock and a server that the test moves. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ConnectionState, LiveConnection } from "../../../web/static/live_connection.js";
import { FakeWebSocket, settle, useBrowser } from "../browser.js";

const CONSOLE = { firstRetry: 1000, maxRetry: 30_000, stableAfter: 10_000 };
const CHAT = { firstRetry: 1500, trustsOffline: true, pingIntervalHidden: 60_000 };

/** @param {Partial<ConstructorParameters<typeof LiveConnection>[0]>} options */
function make(options) {
  const live = new LiveConnection({ url: () => "wss://chat.example/api/ws", lastSeq: () => 7, firstRetry: 1000, ...options });
  /** @type {unknown[][]} */
  const emitted = [];
  for (const name of ["event", "up", "down", "ended", "refused", "watch"]) {
    live.on(name, (detail) => emitted.push(detail === undefined ? [name] : [name, detail]));
  }
  return { live, emitted };
}

/** @param {FakeWebSocket} socket */
function confirm(socket) {
  socket.accept();
  socket.receive({ event: "ok", ref: "inbox", data: {} });
}

/**
 * How many milliseconds pass until the next attempt.
 *
 * @param {ReturnType<typeof useBrowser>} browser
 */
function untilNextAttempt({ clock }, limit = 120_000) {
  const before = FakeWebSocket.all.length;
  for (let passed = 0; passed <= limit; passed += 25) {
    if (FakeWebSocket.all.length > before) return passed;
    clock.tick(25);
  }
  return null;
}

test("it subscribes to the open chat and the inbox, and is live once the inbox is confirmed", (context) => {
  const browser = useBrowser(context);
  const { live, emitted } = make({ protocols: () => ["chat.v1"] });
  live.watch("c1");
  live.start();
  const socket = browser.socket();
  assert.equal(socket.url, "wss://chat.example/api/ws");
  assert.deepEqual(socket.protocols, ["chat.v1"]);
  assert.equal(live.state, ConnectionState.OPENING);

  socket.accept();
  assert.deepEqual(socket.frames, [
    { type: "subscribe", chatId: "c1", after: 7, ref: "chat:c1" },
    { type: "subscribe", chatId: null, ref: "inbox" },
  ]);
  socket.receive({ event: "ok", ref: "chat:c1", data: {} });
  assert.equal(live.isLive, false);
  socket.receive({ event: "ok", ref: "inbox", data: {} });
  assert.equal(live.state, ConnectionState.LIVE);
  assert.deepEqual(emitted, [["watch", "c1"], ["up"]]);
});

test("what the server sends is passed on as it is", (context) => {
  const browser = useBrowser(context);
  const { live, emitted } = make({});
  live.start();
  confirm(browser.socket());
  browser.socket().receive({ event: "message", data: { seq: 8 } });
  assert.deepEqual(emitted.at(-1), ["event", { event: "message", data: { seq: 8 } }]);
});

test("another chat takes the place of the one that was watched", (context) => {
  const browser = useBrowser(context);
  const { live } = make({});
  live.start();
  confirm(browser.socket());
  const { frames } = browser.socket();
  frames.length = 0;
  live.watch("c1");
  live.watch("c1");
  live.watch("c2");
  live.watch(null);
  assert.deepEqual(frames, [
    { type: "subscribe", chatId: "c1", after: 7, ref: "chat:c1" },
    { type: "unsubscribe", chatId: "c1" },
    { type: "subscribe", chatId: "c2", after: 7, ref: "chat:c2" },
    { type: "unsubscribe", chatId: "c2" },
  ]);
});

test("attempts that fail come later and later, up to the longest delay", (context) => {
  const browser = useBrowser(context, { random: 1 });
  const { live } = make(CONSOLE);
  live.start();
  const delays = [];
  for (let attempt = 0; attempt < 8; attempt += 1) {
    browser.socket().drop();
    assert.equal(live.state, ConnectionState.WAITING);
    delays.push(untilNextAttempt(browser));
  }
  assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(live.failures, 8);
});

test("one that was live for long is opened again almost at once, one that was not is a failure", (context) => {
  const browser = useBrowser(context, { random: 1 });
  const { live, emitted } = make(CONSOLE);
  live.start();
  confirm(browser.socket());
  browser.clock.tick(10_001);
  browser.socket().drop();
  assert.deepEqual(emitted.at(-1), ["down"]);
  assert.equal(live.failures, 0);
  assert.equal(untilNextAttempt(browser), 200);

  confirm(browser.socket());
  browser.clock.tick(5000);
  browser.socket().drop();
  assert.equal(live.failures, 1);
  assert.equal(untilNextAttempt(browser), 1000);
});

test("users, who are many, wait the first delay also after a connection that was live", (context) => {
  const browser = useBrowser(context, { random: 1 });
  const { live } = make(CHAT);
  live.start();
  for (let round = 0; round < 3; round += 1) {
    confirm(browser.socket());
    browser.clock.tick(20_000);
    browser.socket().drop();
    assert.equal(untilNextAttempt(browser), 1500);
  }
  browser.socket().drop();
  assert.equal(untilNextAttempt(browser), 3000);
});

test("a connection that is not confirmed within ten seconds is given up", (context) => {
  const browser = useBrowser(context);
  const { live } = make({});
  live.start();
  const socket = browser.socket();
  socket.accept();
  socket.receive({ event: "chat", data: {} });
  browser.clock.tick(9999);
  assert.equal(live.state, ConnectionState.OPENING);
  browser.clock.tick(1);
  assert.equal(live.state, ConnectionState.WAITING);
  assert.equal(socket.readyState, 3);
});

test("after 25 seconds without a frame to the server it is asked for a sign of life", (context) => {
  const browser = useBrowser(context);
  const { live, emitted } = make({});
  live.start();
  confirm(browser.socket());
  const { frames } = browser.socket();
  frames.length = 0;
  for (let tick = 0; tick < 5; tick += 1) browser.clock.tick(5000);
  assert.deepEqual(frames, []);
  browser.clock.tick(5000);
  assert.deepEqual(frames, [{ type: "subscribe", chatId: null, ref: "alive" }]);
  assert.equal(live.state, ConnectionState.CHECKING);
  assert.equal(live.isLive, true);

  browser.socket().receive({ event: "ok", ref: "alive", data: {} });
  assert.equal(live.state, ConnectionState.LIVE);
  browser.clock.tick(5000);
  assert.deepEqual(emitted, [["up"]]);
});

test("one that shows no sign of life for five seconds is dead", (context) => {
  const browser = useBrowser(context);
  const { live, emitted } = make({});
  live.start();
  confirm(browser.socket());
  live.check();
  live.check();
  assert.equal(browser.socket().frames.filter(({ ref }) => ref === "alive").length, 1);
  browser.clock.tick(4999);
  assert.equal(live.state, ConnectionState.CHECKING);
  browser.clock.tick(1);
  assert.equal(live.state, ConnectionState.WAITING);
  assert.deepEqual(emitted.at(-1), ["down"]);
});

test("any frame is a sign of life", (context) => {
  const browser = useBrowser(context);
  const { live } = make({});
  live.start();
  confirm(browser.socket());
  live.check();
  browser.socket().receive({ event: "chat", data: {} });
  browser.clock.tick(5000);
  assert.equal(live.state, ConnectionState.LIVE);
});

test("in a hidden tab a chat is checked once a minute, and the tab that is shown again at once", (context) => {
  const browser = useBrowser(context);
  const { live } = make(CHAT);
  live.start();
  confirm(browser.socket());
  const { frames } = browser.socket();
  browser.hide(true);
  frames.length = 0;
  browser.clock.tick(59_000);
  assert.deepEqual(frames, []);
  browser.hide(false);
  assert.deepEqual(frames, [{ type: "subscribe", chatId: null, ref: "alive" }]);
});

test("a computer that has slept does not trust its connection", (context) => {
  const browser = useBrowser(context);
  const { live } = make({});
  live.start();
  confirm(browser.socket());
  // The clock jumps, and the tick comes late.
  browser.clock.setTime(Date.now() + 16_000);
  browser.clock.tick(5000);
  assert.equal(live.state, ConnectionState.CHECKING);
});

test("a computer that has slept does not wait for the next attempt", (context) => {
  const browser = useBrowser(context);
  const { live } = make({});
  live.start();
  live.pause(600_000);
  assert.equal(FakeWebSocket.all.length, 1);
  browser.clock.setTime(Date.now() + 16_000);
  browser.clock.tick(5000);
  assert.equal(FakeWebSocket.all.length, 2);
});

test("a session that is over is not tried again for fifteen seconds, or until there is reason to", (context) => {
  const browser = useBrowser(context, { random: 0 });
  const { live, emitted } = make({});
  live.start();
  confirm(browser.socket());
  browser.socket().receive({ event: "end", data: { code: "session_ended" } });
  assert.deepEqual(emitted.slice(-2), [["down"], ["ended", "session_ended"]]);
  assert.equal(untilNextAttempt(browser), 15_000);

  browser.socket().drop(4401);
  assert.deepEqual(emitted.at(-1), ["ended", "session_ended"]);
  live.check();
  assert.equal(live.state, ConnectionState.OPENING);
});

test("a server that stops says when to come back, and not all come in one moment", (context) => {
  const browser = useBrowser(context, { random: 1 });
  const { live } = make({});
  live.start();
  confirm(browser.socket());
  browser.socket().receive({ event: "end", data: { code: "restarting", retryAfter: 3 } });
  assert.equal(untilNextAttempt(browser), 4000);
});

test("the code of the close says why where the last event did not get through", (context) => {
  const browser = useBrowser(context);
  const { live, emitted } = make({});
  live.start();
  for (const [code, reason] of /** @type {const} */ ([[4403, "forbidden"], [4408, "too_slow"], [1012, "restarting"], [1008, "too_slow"]])) {
    browser.socket().drop(code);
    assert.deepEqual(emitted.at(-1), ["ended", reason]);
    live.check();
  }
});

test("a chat that may not be watched is refused and the connection stays", (context) => {
  const browser = useBrowser(context);
  const { live, emitted } = make({});
  live.watch("c1");
  live.start();
  confirm(browser.socket());
  for (const status of [403, 404]) browser.socket().receive({ event: "problem", ref: "chat:c1", data: { status } });
  assert.deepEqual(emitted.slice(-2), [["refused", "c1"], ["refused", "c1"]]);
  assert.equal(live.isLive, true);
});

test("any other problem with a subscription opens another connection, when the server says so", (context) => {
  const browser = useBrowser(context, { random: 0.5 });
  const { live } = make({});
  live.start();
  browser.socket().accept();
  browser.socket().receive({ event: "problem", ref: "inbox", data: { status: 503, retryAfter: 10 } });
  assert.equal(untilNextAttempt(browser), 11_000);
  browser.socket().accept();
  browser.socket().receive({ event: "problem", ref: "inbox", data: { status: 503 } });
  assert.equal(untilNextAttempt(browser), 1500);
});

test("a question gets its own reply, and none when the connection is lost", async (context) => {
  const browser = useBrowser(context);
  const { live } = make({});
  assert.equal(await live.ask({ type: "read" }), null);
  live.start();
  confirm(browser.socket());
  const first = live.ask({ type: "read", seq: 1 });
  const second = live.ask({ type: "read", seq: 2 });
  const third = live.ask({ type: "read", seq: 3 });
  const [one, two] = browser.socket().frames.slice(-3);
  browser.socket().receive({ event: "ok", ref: two.ref, data: { b: 2 } });
  browser.socket().receive({ event: "problem", ref: one.ref, data: { status: 403 } });
  assert.deepEqual((await second)?.data, { b: 2 });
  assert.deepEqual(await first, { event: "problem", ref: one.ref, data: { status: 403 } });
  browser.socket().drop();
  await settle();
  assert.equal(await third, null);
  assert.equal(live.send({ type: "typing" }), false);
});

test("where offline is believed, the connection is closed and opened when it is over", (context) => {
  const browser = useBrowser(context);
  const { live, emitted } = make(CHAT);
  live.start();
  confirm(browser.socket());
  browser.navigator.onLine = false;
  browser.window.dispatchEvent(new Event("offline"));
  assert.deepEqual(emitted.at(-1), ["down"]);
  assert.equal(untilNextAttempt(browser), null);
  browser.navigator.onLine = true;
  browser.window.dispatchEvent(new Event("online"));
  assert.equal(live.state, ConnectionState.OPENING);
});

test("where offline is doubted, the connection is only checked", (context) => {
  const browser = useBrowser(context);
  const { live } = make(CONSOLE);
  live.start();
  confirm(browser.socket());
  browser.navigator.onLine = false;
  browser.window.dispatchEvent(new Event("offline"));
  assert.equal(live.state, ConnectionState.CHECKING);
});

test("no attempt is made while it is blocked", (context) => {
  const browser = useBrowser(context);
  let isBlocked = true;
  const { live } = make({ isBlocked: () => isBlocked });
  live.start();
  browser.clock.tick(10_000);
  assert.equal(FakeWebSocket.all.length, 0);
  isBlocked = false;
  assert.equal(untilNextAttempt(browser), 1000);
  assert.equal(live.state, ConnectionState.OPENING);
});

test("what the page's policy forbids is not tried again", (context) => {
  const browser = useBrowser(context);
  FakeWebSocket.error = new Error("refused");
  const { live } = make(CHAT);
  live.start();
  assert.equal(live.state, ConnectionState.FORBIDDEN);
  FakeWebSocket.error = null;
  live.check();
  live.stop();
  live.start();
  assert.equal(untilNextAttempt(browser), null);

  const other = make(CHAT).live;
  other.start();
  const violation = Object.assign(new Event("securitypolicyviolation"), { blockedURI: "wss://chat.example/api/ws" });
  browser.document.dispatchEvent(Object.assign(new Event("securitypolicyviolation"), { blockedURI: "https://other.example/" }));
  assert.equal(other.state, ConnectionState.OPENING);
  browser.document.dispatchEvent(violation);
  assert.equal(other.state, ConnectionState.FORBIDDEN);
});

test("a page that is left closes its connection and has one again when it is come back to", (context) => {
  const browser = useBrowser(context);
  const { live } = make({});
  live.start();
  confirm(browser.socket());
  browser.window.dispatchEvent(new Event("pagehide"));
  assert.equal(browser.socket().readyState, 3);
  assert.equal(untilNextAttempt(browser, 10_000), null);
  browser.window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  assert.equal(live.state, ConnectionState.OPENING);
});

test("one that was stopped does nothing until it is started again", (context) => {
  const browser = useBrowser(context);
  const { live, emitted } = make({});
  live.start();
  live.start();
  assert.equal(FakeWebSocket.all.length, 1);
  confirm(browser.socket());
  const old = browser.socket();
  live.stop();
  assert.deepEqual(emitted.at(-1), ["down"]);
  old.drop();
  browser.window.dispatchEvent(new Event("online"));
  live.check();
  assert.equal(untilNextAttempt(browser), null);
  live.start();
  assert.equal(live.state, ConnectionState.OPENING);
  assert.equal(live.failures, 0);
});

test("a session that is being ended by its own page has no connection meanwhile", (context) => {
  const browser = useBrowser(context);
  const { live } = make({});
  live.start();
  confirm(browser.socket());
  live.pauseAfterLogout();
  assert.equal(live.state, ConnectionState.WAITING);
  assert.equal(untilNextAttempt(browser), 15_000);
});
