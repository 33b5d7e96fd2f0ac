/**
 * Keeps what the page shows up to date: fetches the list and the open conversation again, and
 * swaps in only what has changed.
 */

/** @import { Round } from "./refresh_schedule.js" */

import { askToSignIn, signingIn } from "./dialogs.js";
import { morphInto } from "./morph.js";
import { keptChat } from "./navigation.js";
import { byId, required } from "./page.js";
import { deferral, endDeferral, isPointerOverList, watchPointer } from "./pointer.js";
import { markRead, reading } from "./reading.js";
import { MAX_GAP, RefreshSchedule } from "./refresh_schedule.js";
import { localise } from "./times.js";

/** @typedef {{ place: string, root: string }} Part The place that is filled, and its content's root, which knows its address. */
const LIST = { place: "list", root: "rows" };
const CONVERSATION = { place: "conversation", root: "chat" };

/** @type {Record<number, string>} */
const TEXTS = {
  429: "Too many requests at once. Going on in a moment…",
  503: "The service does not answer right now. Trying again…",
};
const LOST = "Connection lost. Trying again…";
const STORAGE_FULL = "The disk is almost full: nothing can be saved. Reading still works.";

const schedule = new RefreshSchedule({ run, isBlocked: signingIn, deferral });

/** Whether the round that runs has yet to ask for the list. */
let listIsNext = false;
let storageIsFull = false;
let today = new Date().toDateString();

class RequestFailed extends Error {
  /**
   * @param {string} text
   * @param {number} seconds
   */
  constructor(text, seconds = 0) {
    super(text);
    this.seconds = seconds;
  }
}

/**
 * Fetch what is shown again, once more if it is asked for meanwhile.
 *
 * atOnce -- even if the pointer is moving over the list, because it has just done something.
 * abortPending -- give up what is being fetched: it may wait on a connection that is dead.
 */
export function refresh({ atOnce = false, abortPending = false } = {}) {
  if (atOnce) endDeferral();
  return schedule.refresh({ isCertain: atOnce, abortPending });
}

/** An event says that there is more: refresh soon. */
export const scheduleRefresh = () => schedule.scheduleRefresh();

/**
 * Updates come in live from now on, or not any more: poll rarely, or often.
 *
 * @type {(isLive: boolean) => void}
 */
export const pace = (isLive) => schedule.pace(isLive);

/** Tell whether the server has answered the last time. */
export const isReachable = () => schedule.isReachable;

/** Begin, on a page that has something to keep up to date. */
export function keepFresh() {
  if (!byId("rows")) return;
  document.addEventListener("visibilitychange", () => (document.hidden ? schedule.schedule() : refresh()));
  document.addEventListener("console:changed", () => refresh({ atOnce: true }));
  // The row of the chat that was left may leave the list now.
  document.addEventListener("console:left", () => refresh());
  document.addEventListener("console:read", () => listIsNext || refresh());
  window.addEventListener("online", () => refresh());
  window.addEventListener("offline", () => show(LOST));
  window.addEventListener("pageshow", (event) => event.persisted && refresh());
  // What is asked while the session ends would be refused.
  document.addEventListener("submit", (event) => event.target.matches("[data-sign-out]") && schedule.pause());
  watchPointer();
  schedule.on("done", onDone);
  schedule.on("failed", onFailed);
  schedule.schedule();
}

/** @param {{ wasLost: boolean }} result */
function onDone({ wasLost }) {
  show(storageIsFull ? STORAGE_FULL : "");
  if (wasLost) document.dispatchEvent(new CustomEvent("console:contact"));
  // What could not be reported before is reported now.
  markRead();
  followDay();
}

/** @param {unknown} error */
function onFailed(error) {
  show(error instanceof RequestFailed ? error.message : LOST);
  if (!(error instanceof RequestFailed)) console.error(error);
  followDay();
}

/** "Today" becomes "Yesterday" without any update. */
function followDay() {
  if (today === new Date().toDateString()) return;
  today = new Date().toDateString();
  localise();
}

/** @param {string} text */
function show(text) {
  const banner = required("banner");
  if (banner.textContent !== text) banner.textContent = text;
}

/** @param {Round} round */
async function run(round) {
  if (!byId("chat") || document.hidden) {
    await Promise.all([update(LIST, round), update(CONVERSATION, round)]);
    return;
  }
  // What is seen at once is never shown as unread.
  listIsNext = true;
  try {
    await update(CONVERSATION, round);
    await Promise.race([reading(), new Promise((go) => { setTimeout(go, MAX_GAP); })]);
  } finally {
    listIsNext = false;
  }
  await update(LIST, round);
}

/**
 * @param {Part} part
 * @param {Round} round
 */
async function update({ place, root }, round) {
  const shown = byId(root);
  if (!shown || (place === "list" ? isPointerOverList() : isDeleting())) return;
  const { poll = "", etag } = shown.dataset;
  const kept = place === "list" ? keptRow() : null;
  const { response, text } = await ask(kept ? withKept(poll, kept) : poll, etag, round);
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
    schedule.refresh();
    return;
  }
  await morphInto(required(place), text);
}

/** This page is deleting the open chat: the answer to that closes it. */
const isDeleting = () => document.querySelector("#dialogs form[action$='/delete'].htmx-request") !== null;

/** The chat whose row stays in the list, if it is in the list. */
function keptRow() {
  const chat = keptChat();
  return chat && byId(`chat-${chat}`) ? chat : null;
}

/**
 * @param {string} poll
 * @param {string} chat
 */
function withKept(poll, chat) {
  const address = new URL(poll, location.href);
  address.searchParams.set("keep", chat);
  return address.pathname + address.search;
}

/**
 * @param {string} address
 * @param {string | undefined} etag
 * @param {Round} round
 */
async function ask(address, etag, { signal, timeout, isCertain }) {
  // What has just changed may have changed in another worker: this one is to look for itself. A
  // poll may be answered from memory. The browser adds no-cache where there is no such header.
  const cacheControl = schedule.isLive || isCertain ? "no-cache" : "max-age=0";
  const headers = {
    "Cache-Control": cacheControl,
    "HX-Request": "true",
    "HX-Request-Type": "partial",
    "If-None-Match": `"${etag}"`,
    Accept: "text/html",
  };
  try {
    const response = await fetch(address, { headers, signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]) });
    return { response, text: await response.text() };
  } catch {
    throw new RequestFailed(LOST);
  }
}
