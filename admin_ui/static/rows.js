/**
 * Where the agent is in the list, and where the focus goes when its element disappears.
 *
 * `j` and `k` go on from the current row. When a refresh takes that row away, the next one
 * below becomes the current row. An answer moves its chat to the top of the list, but not the
 * agent: "below" is meant from where the row was before. Of all rows only the current one can be
 * reached with Tab, so that what follows the list is near.
 */

import { afterSwap, byId, required } from "./page.js";

const CONTROLS = ".row-link, input[name=ids]";

/** The chat of the current row. @type {string | null} */
let current = null;
/** The chats of the list as they were when the current row last stood between its neighbours. @type {string[]} */
let around = [];
/** The chats of the list before it changes, from top to bottom. @type {string[]} */
let order = [];
/** Where the row above the screen and those on it were before the list changes. @type {[chat: string, top: number][]} */
let inSight = [];
/** The chat that was open when the page last changed. @type {string | null} */
let opened = null;
/** The element outside toasts that had the focus last, unless the agent moved the focus away from it. @type {HTMLElement | null} */
let focused = null;

/** @type {() => HTMLElement[]} */
const links = () => [...document.querySelectorAll("#rows .row-link")];

/** @type {(element: Element) => HTMLTableRowElement} */
const rowOf = (element) => /** @type {HTMLTableRowElement} */ (element.closest("tr"));
/** @type {(element: Element) => string} */
const chatOf = (element) => rowOf(element).id.slice("chat-".length);
const isListVisible = () => byId("list")?.checkVisibility() ?? false;
const currentLink = () => byId(`open-${current}`);

/** @param {string | null} chat */
function setCurrent(chat) {
  if (chat === current) return;
  current = chat;
  around = links().map(chatOf);
}

/** Return the link of the row next to where the current one was, if need be on its other side. */
function neighbour(by = 1) {
  const at = around.indexOf(current ?? "");
  if (at < 0) return undefined;
  const [above, below] = [around.slice(0, at).reverse(), around.slice(at + 1)];
  const chats = by > 0 ? [...below, ...above] : [...above, ...below];
  return chats.map((chat) => byId(`open-${chat}`)).find(Boolean);
}

/** Tell whether the current row has left its neighbours; others come and go. */
function hasMoved() {
  const now = links().map(chatOf);
  const [was, is] = [around.filter((chat) => now.includes(chat)), now.filter((chat) => around.includes(chat))];
  return was.length > 1 && is.includes(current ?? "") && !hasNeighbour(current, was, is);
}

const isOutOfReach = () => {
  const link = currentLink();
  return link !== null && hasMoved() && !isInSight(link);
};

/**
 * Focus the row that is so many rows below the current one, or above it.
 *
 * @param {number} by
 */
export function step(by) {
  const all = links();
  if (!all.length || !isListVisible()) return;
  const link = currentLink();
  const at = link ? all.indexOf(link) : -1;
  const nearest = all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by))];
  const target = (isOutOfReach() ? neighbour(by) : null) ?? nearest;
  target.focus({ preventScroll: true });
  rowOf(target).scrollIntoView({ block: "nearest" });
}

/** Make the next row the current one, because the agent is done with this one. */
export function leaveRow() {
  const [link, next] = [currentLink(), neighbour()];
  if (!link || !next) return;
  setCurrent(chatOf(next));
  showTabStop();
  if (isInSight(link)) rowOf(next).scrollIntoView({ block: "nearest" });
}

/** @param {Element} link */
function isInSight(link) {
  const [box, window] = [link.getBoundingClientRect(), required("list").getBoundingClientRect()];
  return box.bottom > window.top && box.top < window.bottom;
}

/** Focus the row of the chat that was left, or the next one if that row has moved out of sight. */
export function focusLeftRow() {
  if (isListVisible()) {
    if (isOutOfReach()) leaveRow();
    const [left, link] = [byId(`open-${opened}`), currentLink()];
    // As long as the row that was left is in its place the next one may take that.
    const isAway = !left || !isInSight(left);
    if (link && link !== left && isAway && !isInSight(link)) rowOf(link).scrollIntoView({ block: "nearest" });
  }
  focusCurrentRow();
}

/** Focus the current row, or the list when it has no row, or what is shown in its place. */
export function focusCurrentRow() {
  const place = isListVisible() ? currentLink() ?? links()[0] ?? byId("list") : byId("history") ?? byId("main");
  place?.focus({ preventScroll: true });
}

/** Put the focus back into the page if its element has been removed, hidden or disabled. */
export function rescueFocus() {
  const active = document.activeElement;
  if (!focused || (active && active !== document.body && isFocusable(active))) return;
  if (document.querySelector("dialog[open]")) return;
  // A closed chat shows the text that was being typed where it cannot be changed.
  const id = focused.id === "message" && !byId("message") ? "kept-text" : focused.id;
  const again = focused.isConnected ? focused : byId(id);
  if (again && isFocusable(again)) again.focus({ preventScroll: true });
  else focusCurrentRow();
}

/** @param {Element} element */
function isFocusable(element) {
  return element.isConnected && !element.matches(":disabled") && element.checkVisibility();
}

/** Note the list as it is, before it changes. */
export function beforeListChange() {
  const all = links();
  order = all.map(chatOf);
  inSight = [];
  if (!isListVisible() || !required("list").scrollTop) return;
  const seen = all.filter(isInSight);
  const above = all[all.indexOf(seen[0]) - 1];
  inSight = [above, ...seen].filter(Boolean).map((link) => [chatOf(link), topOf(link)]);
}

/** @type {(link: Element) => number} */
const topOf = (link) => link.getBoundingClientRect().top;

/**
 * Keep the rows on the screen where they are when others come or go above them.
 *
 * Rows that moved themselves are no measure. If the current row has moved, to the top perhaps,
 * those below where it was decide; else those above it, so that what follows a row that goes
 * takes its place.
 */
function keepPlace() {
  const now = links().map(chatOf);
  const at = order.indexOf(current ?? "");
  const isBelow = (/** @type {[chat: string, top: number]} */ [chat]) => order.indexOf(chat) > at;
  const near = hasMoved() ? isBelow : (/** @type {[chat: string, top: number]} */ row) => !isBelow(row);
  const anchor = [...inSight.filter(near), ...inSight].find(([chat]) => hasNeighbour(chat, order, now));
  inSight = [];
  if (anchor) required("list").scrollTop += topOf(required(`open-${anchor[0]}`)) - anchor[1];
}

/**
 * @param {string | null} chat
 * @param {string[]} before
 * @param {string[]} now
 */
function hasNeighbour(chat, before, now) {
  const [was, is] = [before.indexOf(chat ?? ""), now.indexOf(chat ?? "")];
  return is >= 0 && [1, -1].some((by) => before[was + by] !== undefined && before[was + by] === now[is + by]);
}

/** Follow a list that has changed: if the current row is gone, take the nearest one below. */
export function afterListChange() {
  keepPlace();
  if (!currentLink()) {
    const next = neighbour();
    setCurrent(next ? chatOf(next) : null);
  } else if (!hasMoved()) {
    around = links().map(chatOf);
  }
  showTabStop();
}

function showTabStop() {
  const all = links();
  const stop = currentLink() ?? all[0];
  for (const link of all) {
    for (const control of rowOf(link).querySelectorAll(CONTROLS)) {
      control.tabIndex = link === stop ? 0 : -1;
    }
  }
}

export function watchRows() {
  document.addEventListener("focusin", ({ target }) => {
    // A toast goes soon: the focus is to return to where it was before.
    if (!target.closest("#toasts")) focused = target;
    if (!target.closest("#rows tbody tr")) return;
    setCurrent(chatOf(target));
    showTabStop();
  });
  document.addEventListener("pointerup", () => {
    // A click beside everything takes the focus away on purpose.
    if (document.activeElement === document.body) focused = null;
  });
  document.addEventListener("htmx:before:swap", beforeListChange);
  afterSwap((target) => {
    const chat = byId("chat")?.dataset.chat ?? null;
    if (chat && chat !== opened) setCurrent(chat);
    opened = chat;
    if (target.id === "list" || target === document.body) afterListChange();
  });
  // Buttons that were disabled meanwhile are enabled right after this event.
  document.addEventListener("htmx:finally:request", () => setTimeout(rescueFocus));
  afterSwap(() => rescueFocus());
  opened = byId("chat")?.dataset.chat ?? null;
  setCurrent(opened);
  showTabStop();
}
