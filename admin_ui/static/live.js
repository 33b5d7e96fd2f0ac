/**
 * The live connection: one WebSocket a tab, for the inbox and the open chat.
 *
 * A WebSocket, because a browser opens only six connections to a host for everything else,
 * and agents have many tabs. It promises nothing: what it tells is a nudge to fetch, and
 * without it the page asks every few seconds. While the tab is hidden it listens to the
 * inbox alone: nobody looks at the chat then.
 */

import { signingIn } from "./dialogs.js";
import { afterSwap, byId } from "./page.js";
import { isReachable } from "./refresh.js";

const OPEN_TIMEOUT = 10_000;
const REPLY_TIMEOUT = 5000;
const FIRST_RETRY = 1000;
const MAX_RETRY = 30_000;
/** A server that stops tells all when to come back; they must not come in one moment. */
const SPREAD = 1000;
/** A connection that was up for less has failed once more. */
const STABLE = 10_000;
/** Silence of ours after which the server is asked for a sign of life. */
const PING_INTERVAL = 25_000;
const TICK = 5000;
/** A clock that jumps by so much says that the computer has slept. */
const SLEEP_THRESHOLD = 3 * TICK;
/** How long a connection that is not there yet goes without saying. */
const STATUS_DELAY = 1500;
/** A session that is over opens nothing: whoever finds that it is not over calls `check`. */
const RETRY_AFTER_LOGOUT = 15_000;
/** So many attempts in vain: something between here and there does not let it through. */
const FAILURES_BEFORE_POLLING = 4;

const INBOX = "inbox";
const ALIVE = "alive";
const CHAT = "chat:";
/** What the code of a closed connection says where the last event did not get through. */
const CLOSE_REASONS = { 4401: "session_ended", 4403: "forbidden", 4408: "too_slow", 1012: "restarting", 1008: "too_slow" };

const listeners = { event: [], chat: [], up: [], down: [], ended: [], refused: [] };

let socket = null;
let up = false;
let upSince = 0;
let chat = null;
let failures = 0;
let retry;
let deadline = null;
let lastSentAt = 0;
let tickedAt = 0;
let statusTimer;

/**
 * Call `act` each time that something happens: "event" (name, data), "chat" (which chat is
 * listened to from now on, or null), "up", "down", "ended" (why the server has ended it),
 * "refused" (a chat may not be listened to).
 */
export function on(what, act) {
  listeners[what].push(act);
}

/** Tell whether news come in by themselves. */
export const isLive = () => up;

/** The chat that is listened to, or null. */
export const openChatId = () => chat;

/** Tell the server something; false when there is no connection. */
export function send(frame) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  lastSentAt = Date.now();
  socket.send(JSON.stringify(frame));
  return true;
}

/** There is reason to doubt, or to hope: ask for a sign of life, or try to connect now. */
export function check() {
  if (up) ping();
  else if (!socket) openSocket();
}

/** Begin, on a page that has something to keep up to date. */
export function connect() {
  if (!byId("rows") || !window.WebSocket) return;
  document.addEventListener("visibilitychange", () => {
    follow();
    if (!document.hidden) check();
  });
  document.addEventListener("console:left", follow);
  document.addEventListener("console:contact", check);
  document.addEventListener("console:signedin", () => setTimeout(check));
  window.addEventListener("online", check);
  window.addEventListener("offline", check);
  // An open socket would keep a page that is left from being kept for the way back.
  window.addEventListener("pagehide", () => {
    clearTimeout(retry);
    closeSocket();
  });
  window.addEventListener("pageshow", (event) => event.persisted && openSocket());
  // The server says that the session is over before the next page is here.
  document.addEventListener("submit", (event) => event.target.matches("[data-sign-out]") && pauseAfterLogout());
  afterSwap((target) => {
    follow();
    if (target === document.body) showStatus();
  });
  follow();
  openSocket();
  tickedAt = Date.now();
  setInterval(onTick, TICK);
}

function notify(what, ...facts) {
  for (const act of listeners[what]) act(...facts);
}

/** Listen to the chat that is looked at. */
function follow() {
  const shown = document.hidden ? null : byId("chat")?.dataset.chat ?? null;
  if (shown === chat) return;
  if (chat) send({ type: "unsubscribe", chatId: chat });
  chat = shown;
  notify("chat", chat);
  subscribe();
}

function subscribe() {
  if (!chat) return;
  const after = Number(byId("chat")?.dataset.last) || 0;
  send({ type: "subscribe", chatId: chat, after, ref: CHAT + chat });
}

function openSocket() {
  clearTimeout(retry);
  if (socket) return;
  if (signingIn()) {
    // Without a session nothing opens.
    retry = setTimeout(openSocket, FIRST_RETRY);
    return;
  }
  showStatusSoon();
  const opened = new WebSocket("/api/ws");
  socket = opened;
  expectReplyWithin(OPEN_TIMEOUT);
  opened.onopen = () => {
    // The chat first: when the inbox is confirmed, both are.
    subscribe();
    send({ type: "subscribe", chatId: null, ref: INBOX });
  };
  opened.onmessage = ({ data }) => onMessage(JSON.parse(data));
  opened.onclose = ({ code }) => (CLOSE_REASONS[code] ? onEnd({ code: CLOSE_REASONS[code] }) : reconnect());
}

function onMessage({ event, ref, data }) {
  // Until the inbox is confirmed, nothing else is the answer that is awaited.
  if (up || ref === INBOX) {
    clearTimeout(deadline);
    deadline = null;
  }
  if (event === "ok") {
    if (ref === INBOX && !up) onConfirmed();
  } else if (event === "problem") {
    onProblem(ref, data);
  } else if (event === "end") {
    onEnd(data);
  } else {
    notify("event", event, data);
  }
}

function onConfirmed() {
  up = true;
  upSince = Date.now();
  showStatus();
  notify("up");
}

function onProblem(ref, { status, retryAfter = 0 }) {
  const isChat = typeof ref === "string" && ref.startsWith(CHAT);
  if (isChat && (status === 403 || status === 404)) notify("refused");
  else if (isChat || ref === INBOX || ref === ALIVE) reconnect(retryAfter * 1000 + Math.random() * SPREAD);
}

/** The server has said its last word. */
function onEnd({ code, retryAfter = 0 }) {
  reconnect((code === "session_ended" ? RETRY_AFTER_LOGOUT : retryAfter * 1000) + Math.random() * SPREAD);
  notify("ended", code);
}

/** The connection is of no use any more; come back, later after each failure. */
function reconnect(wait) {
  const wasStable = up && Date.now() - upSince > STABLE;
  failures = wasStable ? 0 : failures + 1;
  closeSocket();
  const grown = Math.min(MAX_RETRY, FIRST_RETRY * 2 ** Math.max(0, failures - 1));
  // The first time at once: mostly it is one connection that broke, and not the server.
  const pause = wasStable ? Math.random() * 200 : grown * (0.5 + Math.random() * 0.5);
  clearTimeout(retry);
  retry = setTimeout(openSocket, wait ?? pause);
  showStatusSoon();
}

/** Be without a connection for a while. */
function pauseAfterLogout() {
  closeSocket();
  clearTimeout(retry);
  retry = setTimeout(openSocket, RETRY_AFTER_LOGOUT);
}

function closeSocket() {
  clearTimeout(deadline);
  deadline = null;
  const dropped = socket;
  socket = null;
  if (dropped) {
    dropped.onopen = dropped.onmessage = dropped.onclose = null;
    dropped.close();
  }
  if (!up) return;
  up = false;
  byId("link").dataset.state = "reconnecting";
  notify("down");
}

function onTick() {
  const now = Date.now();
  const slept = now - tickedAt > SLEEP_THRESHOLD && !document.hidden;
  tickedAt = now;
  if (slept) check();
  else if (up && now - lastSentAt > PING_INTERVAL) ping();
}

/** The protocol's own pings are hidden from scripts; asking for the inbox again costs as little. */
function ping() {
  if (deadline) return;
  send({ type: "subscribe", chatId: null, ref: ALIVE });
  expectReplyWithin(REPLY_TIMEOUT);
}

function expectReplyWithin(milliseconds) {
  clearTimeout(deadline);
  deadline = setTimeout(reconnect, milliseconds);
}

function showStatusSoon() {
  statusTimer ??= setTimeout(showStatus, STATUS_DELAY);
}

/** Say in the bar how news come in, unless they come by themselves. */
function showStatus() {
  clearTimeout(statusTimer);
  statusTimer = null;
  const place = byId("link");
  const isPolling = failures >= FAILURES_BEFORE_POLLING && isReachable();
  place.hidden = up;
  place.dataset.state = up ? "live" : isPolling ? "polling" : "reconnecting";
  if (up) return;
  place.title = isPolling ? "There is no live connection. News are fetched every few seconds." : "The live connection is being made. Meanwhile news are fetched every few seconds.";
  const text = isPolling ? "Not live" : "Reconnecting…";
  const words = place.lastElementChild;
  if (words.textContent !== text) words.textContent = text;
}
