/**
 * Where the agent is in the list, and where the focus goes when its element disappears.
 *
 * `j` and `k` go on from the current row. When a refresh takes that row away, the next one
 * below becomes the current row. Of all rows only the current one can be reached with Tab,
 * so that what follows the list is near.
 */

import { afterSwap, byId } from "./page.js";

const CONTROLS = ".row-link, input[name=ids]";

/** The chat of the current row. */
let current = null;
/** The chats of the list before it changes, from top to bottom. */
let order = [];
/** Where the rows on the screen were before the list changes: [chat, top]. */
let inSight = [];
/** The chat that was open when the page last changed. */
let opened = null;
/** The element that had the focus last, unless the agent moved the focus away from it. */
let focused = null;

const links = () => [...document.querySelectorAll("#rows .row-link")];
const chatOf = (element) => element.closest("tr").id.slice("chat-".length);
const isListVisible = () => byId("list")?.checkVisibility() ?? false;
const currentLink = () => byId(`open-${current}`);

/** Focus the row that is so many rows below the current one, or above it. */
export function step(by) {
  const all = links();
  if (!all.length || !isListVisible()) return;
  const at = all.indexOf(currentLink());
  const link = all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by))];
  link.focus({ preventScroll: true });
  link.closest("tr").scrollIntoView({ block: "nearest" });
}

/** Make the next row the current one, because the agent is done with this one. */
export function leaveRow() {
  const all = links();
  const at = all.indexOf(currentLink());
  const next = all[at + 1] ?? all[at - 1];
  if (at < 0 || !next) return;
  current = chatOf(next);
  showTabStop();
  if (isInSight(all[at])) next.closest("tr").scrollIntoView({ block: "nearest" });
}

function isInSight(link) {
  const [box, window] = [link.getBoundingClientRect(), byId("list").getBoundingClientRect()];
  return box.bottom > window.top && box.top < window.bottom;
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

function isFocusable(element) {
  return element.isConnected && !element.matches(":disabled") && element.checkVisibility();
}

/** Note the list as it is, before it changes. */
export function beforeListChange() {
  const all = links();
  order = all.map(chatOf);
  inSight = isListVisible() && byId("list").scrollTop ? all.filter(isInSight).map((link) => [chatOf(link), topOf(link)]) : [];
}

const topOf = (link) => link.getBoundingClientRect().top;

/**
 * Keep the rows on the screen where they are when others come or go above them.
 *
 * Rows that moved themselves are no measure. Of the others the nearest to the current row
 * decide: those below it if it is still there, as it may have moved to the top.
 */
function keepPlace() {
  const now = links().map(chatOf);
  const at = order.indexOf(current);
  const isBelow = ([chat]) => order.indexOf(chat) > at;
  const near = now.includes(current) ? isBelow : (row) => !isBelow(row);
  const anchor = [...inSight.filter(near), ...inSight].find(([chat]) => hasNeighbour(chat, now));
  inSight = [];
  if (anchor) byId("list").scrollTop += topOf(byId(`open-${anchor[0]}`)) - anchor[1];
}

function hasNeighbour(chat, now) {
  const [was, is] = [order.indexOf(chat), now.indexOf(chat)];
  return is >= 0 && [1, -1].some((by) => order[was + by] !== undefined && order[was + by] === now[is + by]);
}

/** Follow a list that has changed: if the current row is gone, take the nearest one below. */
export function afterListChange() {
  keepPlace();
  const at = order.indexOf(current);
  if (at >= 0 && !currentLink()) {
    const below = order.slice(at + 1);
    const above = order.slice(0, at).reverse();
    current = [...below, ...above].find((chat) => byId(`open-${chat}`)) ?? null;
  }
  showTabStop();
}

function showTabStop() {
  const all = links();
  const stop = currentLink() ?? all[0];
  for (const link of all) {
    for (const control of link.closest("tr").querySelectorAll(CONTROLS)) {
      control.tabIndex = link === stop ? 0 : -1;
    }
  }
}

export function watchRows() {
  document.addEventListener("focusin", ({ target }) => {
    focused = target;
    if (!target.closest("#rows tbody tr")) return;
    current = chatOf(target);
    showTabStop();
  });
  document.addEventListener("pointerup", () => {
    // A click beside everything takes the focus away on purpose.
    if (document.activeElement === document.body) focused = null;
  });
  document.addEventListener("htmx:before:swap", beforeListChange);
  afterSwap((target) => {
    const chat = byId("chat")?.dataset.chat ?? null;
    if (chat && chat !== opened) current = chat;
    opened = chat;
    if (target.id === "list" || target === document.body) afterListChange();
  });
  // Buttons that were disabled meanwhile are enabled right after this event.
  document.addEventListener("htmx:finally:request", () => setTimeout(rescueFocus));
  afterSwap(() => rescueFocus());
  current = opened = byId("chat")?.dataset.chat ?? null;
  showTabStop();
}
