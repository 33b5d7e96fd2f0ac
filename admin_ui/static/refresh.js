/**
 * Keeps what the page shows up to date: `refresh()` asks for the list and the open
 * conversation again and swaps in only what has changed. It runs whenever something says
 * that there may be news, and every three seconds unless news come in live.
 */

import { morphInto } from "./morph.js";
import { byId } from "./page.js";
import { askToSignIn, signingIn } from "./dialogs.js";
import { keptChat } from "./navigation.js";
import { markRead, reading } from "./reading.js";
import { localise } from "./times.js";

const VISIBLE = 3000;
const HIDDEN = 30_000;
/** While news come in live, asking only makes sure. */
const LIVE = 45_000;
const LIVE_HIDDEN = 120_000;
/** Several events of one cause come together. */
const DEBOUNCE = 30;
/** Between two refreshes that events lead to; it grows while they keep coming. */
const GAP = 150;
const MAX_GAP = 1000;
const HIDDEN_GAP = 2000;
const MAX_DELAY = 30_000;
const TIMEOUT = 15_000;
/** When connections have been found dead, others that the browser keeps may be as well. */
const FAST_TIMEOUT = 2000;
const MAX_DEAD_CONNECTIONS = 6;
const POINTER_IDLE = 600;
const MAX_DEFERRALS = 4;

const panes = [
  { place: "list", root: "rows" },
  { place: "conversation", root: "chat" },
];

let live = false;
let timer;
let scheduledRefresh = null;
let refreshedAt = 0;
let gap = GAP;
let running = null;
let fetching = null;
let retryFast = 0;
let listIsNext = false;
let again = false;
/** The next round, and this one, ask the server to look for itself. */
let certain = false;
let isCertain = false;
let failures = 0;
let wait = 0;
let pointerMovedAt = 0;
let deferrals = 0;
let leaving = null;
let storageIsFull = false;
let today = new Date().toDateString();

class RequestFailed extends Error {
  constructor(text, seconds = 0) {
    super(text);
    this.seconds = seconds;
  }
}

const TEXTS = {
  429: "Too many requests at once. Going on in a moment…",
  503: "The service does not answer right now. Trying again…",
};
const LOST = "Connection lost. Trying again…";
const STORAGE_FULL = "The disk is almost full: nothing can be saved. Reading still works.";

/**
 * Fetch what is shown again, once more if it is asked for meanwhile.
 *
 * atOnce -- even if a hand is moving over the list, because it has just done something.
 * abortPending -- give up what is being fetched: it may wait on a connection that is dead.
 */
export function refresh({ atOnce = false, abortPending = false } = {}) {
  if (atOnce) deferrals = MAX_DEFERRALS;
  certain ||= atOnce;
  if (abortPending) retryFast = MAX_DEAD_CONNECTIONS;
  if (running) {
    again = true;
    if (abortPending) fetching.abort();
    return running;
  }
  clearTimeout(timer);
  fetching = new AbortController();
  running = round().finally(() => {
    running = null;
    if (!again) return schedule();
    again = false;
    return refresh();
  });
  return running;
}

/** There is news somewhere: refresh at once, but in a burst only now and then. */
export function scheduleRefresh() {
  // The server has said how long it wants to be left alone.
  if (scheduledRefresh || wait) return;
  const ago = Date.now() - refreshedAt;
  gap = ago > 2 * MAX_GAP ? GAP : Math.min(MAX_GAP, gap * 1.4);
  const pause = (document.hidden ? HIDDEN_GAP : gap) - ago;
  scheduledRefresh = setTimeout(() => {
    scheduledRefresh = null;
    refreshedAt = Date.now();
    refresh();
  }, Math.max(DEBOUNCE, pause));
}

/** News come in by themselves from now on, or not any more: ask rarely, or often. */
export function pace(isLive) {
  live = isLive;
  if (!running) schedule();
}

/** Tell whether the server has answered the last time. */
export const isReachable = () => failures === 0;

/** Begin, on a page that has something to keep up to date. */
export function keepFresh() {
  if (!byId("rows")) return;
  document.addEventListener("visibilitychange", () => (document.hidden ? schedule() : refresh()));
  document.addEventListener("console:changed", () => refresh({ atOnce: true }));
  // The row of the chat that was left may leave the list now.
  document.addEventListener("console:left", () => refresh());
  document.addEventListener("console:read", () => listIsNext || refresh());
  document.addEventListener("pointermove", (event) => {
    if ((event.movementX || event.movementY) && event.target.closest?.("#list")) pointerMovedAt = Date.now();
  }, { passive: true });
  window.addEventListener("online", () => refresh());
  window.addEventListener("offline", () => show(LOST));
  window.addEventListener("pageshow", (event) => event.persisted && refresh());
  document.addEventListener("submit", (event) => event.target.matches("[data-sign-out]") && leave());
  schedule();
}

/** The session ends before the next page loads, so requests in between would be rejected. */
function leave() {
  fetching?.abort();
  clearTimeout(leaving);
  leaving = setTimeout(() => { leaving = null; }, TIMEOUT);
}

function schedule() {
  clearTimeout(timer);
  let delay = document.hidden ? HIDDEN : VISIBLE;
  if (live) delay = (document.hidden ? LIVE_HIDDEN : LIVE) * (0.9 + Math.random() * 0.2);
  if (failures) delay = Math.min(MAX_DELAY, VISIBLE * 2 ** (failures - 1)) * (0.8 + Math.random() * 0.4);
  if (failures && retryFast) delay = 0;
  if (deferrals) delay = POINTER_IDLE;
  timer = setTimeout(() => refresh(), Math.max(delay, wait));
}

async function round() {
  if (signingIn() || leaving) return;
  isCertain = certain;
  certain = false;
  try {
    const [list, conversation] = panes.map((pane) => () => update(pane));
    if (byId("chat") && !document.hidden) {
      // What is seen at once is never shown as unread.
      listIsNext = true;
      await conversation();
      await Promise.race([reading(), new Promise((go) => { setTimeout(go, MAX_GAP); })]);
      listIsNext = false;
      await list();
    } else {
      await Promise.all([list(), conversation()]);
    }
    const wasLost = failures > 0;
    failures = 0;
    retryFast = 0;
    wait = 0;
    show(storageIsFull ? STORAGE_FULL : "");
    if (wasLost) document.dispatchEvent(new CustomEvent("console:contact"));
    // What could not be noted before is noted now.
    markRead();
  } catch (error) {
    listIsNext = false;
    if (fetching.signal.aborted) return;
    failures = retryFast ? 1 : failures + 1;
    retryFast = Math.max(0, retryFast - 1);
    wait = (error.seconds ?? 0) * 1000;
    show(error instanceof RequestFailed ? error.message : LOST);
    if (!(error instanceof RequestFailed)) console.error(error);
  }
  if (today !== new Date().toDateString()) {
    today = new Date().toDateString();
    localise();
  }
}

function show(text) {
  const banner = byId("banner");
  if (banner.textContent !== text) banner.textContent = text;
}

async function update({ place, root }) {
  const shown = byId(root);
  if (!shown || (place === "list" ? isPointerOverList() : isDeleting())) return;
  const { poll, etag } = shown.dataset;
  const kept = place === "list" ? keptRow() : null;
  const { response, text } = await ask(kept ? withKept(poll, kept) : poll, etag);
  storageIsFull = response.headers.has("X-Storage-Full");
  if (response.status === 304) return;
  if (response.status === 401) {
    askToSignIn(text);
    return;
  }
  if (response.status === 404 && place === "conversation") {
    if (byId(root) === shown && !isDeleting()) {
      document.dispatchEvent(new CustomEvent("console:deleted", { detail: { chat: shown.dataset.chat } }));
    }
    return;
  }
  if (response.status === 403) {
    // Not an agent any more: the whole page says so.
    location.reload();
    return;
  }
  if (!response.ok) {
    throw new RequestFailed(TEXTS[response.status] ?? LOST, Number(response.headers.get("Retry-After")) || 0);
  }
  // Something else was put there meanwhile: that is newer.
  if (byId(root) !== shown || shown.dataset.etag !== etag || shown.dataset.poll !== poll) return;
  if (place === "list" && kept !== keptRow()) {
    // Another chat was opened meanwhile: the answer may lack its row.
    again = true;
    return;
  }
  await morphInto(byId(place), text);
}

/** This page is deleting the open chat: the answer to that closes it. */
const isDeleting = () => document.querySelector("#dialogs form[action$='/delete'].htmx-request") !== null;

/** The chat whose row stays in the list, if it is in the list. */
function keptRow() {
  const chat = keptChat();
  return chat && byId(`chat-${chat}`) ? chat : null;
}

function withKept(poll, chat) {
  const address = new URL(poll, location.href);
  address.searchParams.set("keep", chat);
  return address.pathname + address.search;
}

async function ask(address, etag) {
  // What has just changed may have changed in another worker: this one is to look for itself. A
  // poll may be answered from memory. The browser adds no-cache where there is no such header.
  const cacheControl = live || isCertain ? "no-cache" : "max-age=0";
  const headers = {
    "Cache-Control": cacheControl,
    "HX-Request": "true",
    "HX-Request-Type": "partial",
    "If-None-Match": `"${etag}"`,
    Accept: "text/html",
  };
  const signal = AbortSignal.any([fetching.signal, AbortSignal.timeout(retryFast ? FAST_TIMEOUT : TIMEOUT)]);
  try {
    const response = await fetch(address, { headers, signal });
    return { response, text: await response.text() };
  } catch {
    throw new RequestFailed(LOST);
  }
}

/** Tell whether a hand is moving over the list: rows must not jump just before a click. */
function isPointerOverList() {
  if (Date.now() - pointerMovedAt < POINTER_IDLE && deferrals < MAX_DEFERRALS) {
    deferrals += 1;
    return true;
  }
  deferrals = 0;
  return false;
}
