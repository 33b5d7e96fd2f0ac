/** The address, the title and what they stand for: views, filters, the open chat. */

/* global htmx */

/** @import { HtmxContext } from "../../web/types/console.d.ts" */

import { afterSwap, announce, byId, required } from "./page.js";
import { focusLeftRow, leaveRow } from "./rows.js";
import { tab } from "./storage.js";

/** The names of the filters, as the server calls them. */
const filterNames = () => byId("filters")?.dataset.names?.split(" ") ?? [];
/** What "open" stands for. */
const openStatuses = () => byId("filters")?.dataset.open?.split(" ") ?? [];

/** The request for a chat that has been clicked in the list and is not shown yet. @type {{ ctx: HtmxContext, chat: string } | null} */
let opening = null;

/** The chat whose row stays in the list: the open one, or the one that is being opened. */
export const keptChat = () => opening?.chat ?? byId("chat")?.dataset.chat ?? null;

/** Hide the conversation and stay in the list. */
export function closeChat() {
  hideChat();
  history.pushState({ htmx: true }, "", `/admin${location.search}`);
  showPlace();
  document.dispatchEvent(new CustomEvent("console:left"));
}

function hideChat() {
  const pane = required("conversation");
  pane.replaceChildren(required("empty").content.cloneNode(true));
  htmx.process(pane);
  restoreScroll();
  focusLeftRow();
}

/** Let views, filters, rows and title agree with the address and what is shown. */
export function showPlace() {
  const rows = byId("rows");
  if (!rows) return;
  const chat = byId("chat");
  for (const row of rows.querySelectorAll("tbody tr")) {
    const open = chat && row.id === `chat-${chat.dataset.chat}`;
    if (open) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  const here = narrowing(location.search);
  /** @type {NodeListOf<HTMLAnchorElement>} */
  const views = document.querySelectorAll("a[data-view]");
  for (const link of views) {
    if (narrowing(link.search) === here) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  const unread = Number(rows.dataset.unread);
  const badge = required("unread-total");
  badge.hidden = unread === 0;
  const number = /** @type {Element} */ (badge.firstElementChild);
  number.textContent = String(unread);
  document.title = `${unread ? `(${unread}) ` : ""}${chat?.dataset.subject ?? "Inbox"}`;
}

/** @param {string} search */
function narrowing(search) {
  const given = new URLSearchParams(search);
  const pairs = filterNames().flatMap((name) => statuses(given.getAll(name)).map((value) => `${name}=${value}`));
  return pairs.sort().join("&");
}

/** @param {string[]} values */
function statuses(values) {
  return values.filter(Boolean).flatMap((value) => (value === "open" ? openStatuses() : [value]));
}

/** Let the filters' fields say what the address says. */
function showFilters() {
  const form = byId("filters");
  if (!form) return;
  const given = new URLSearchParams(location.search);
  const names = filterNames();
  for (const field of /** @type {Iterable<HTMLInputElement>} */ (/** @type {unknown} */ (form.elements))) {
    if (!names.includes(field.name) || field === document.activeElement) continue;
    const values = given.getAll(field.name);
    field.value = values.length > 1 && field.name === "status" ? "open" : values[0] ?? "";
  }
  const clear = document.querySelector("[data-clear]");
  if (clear) clear.hidden = narrowing(location.search) === "";
}

/**
 * Leave empty fields out of the address, and keep the open chat in it.
 *
 * @param {CustomEvent<{ ctx: HtmxContext }>} event
 */
function tidyRequest(event) {
  const { ctx } = event.detail;
  const { form, body } = ctx.request;
  const filtering = form?.matches(".filters");
  if (filtering && body instanceof FormData) {
    for (const [name, value] of [...body]) if (!String(value).trim()) body.delete(name);
  }
  if (ctx.target?.id !== "list") return;
  const query = filtering ? new URLSearchParams(/** @type {any} */ (body)).toString() : new URL(ctx.request.action, location.href).search.slice(1);
  const chat = byId("chat");
  const address = (chat ? `/admin/chats/${chat.dataset.chat}` : "/admin") + (query ? `?${query}` : "");
  // Each letter of a search is no place to go back to.
  const typing = ctx.sourceEvent?.target?.id === "q" && new URLSearchParams(location.search).has("q");
  ctx.push = typing ? null : address;
  ctx.replace = typing ? address : null;
}

function watchOpening() {
  document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
    if (ctx.sourceElement.matches(".row-link")) opening = { ctx, chat: ctx.sourceElement.id.slice("open-".length) };
  });
  document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
    if (opening?.ctx === ctx) opening = null;
  });
}

/** How far each list of this tab was scrolled, by its query; also after other pages. */
const SCROLLED = "scrolled";
/** @type {Map<string, number>} */
const scrolled = new Map();

function watchScroll() {
  document.addEventListener("scroll", ({ target }) => {
    // A list that is not shown has no place.
    if (target.id === "list" && target.checkVisibility()) scrolled.set(location.search, target.scrollTop);
  }, { capture: true, passive: true });
  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    // Only a list that was asked for begins at its top; one that was refreshed stays.
    if (ctx.request && ctx.target?.id === "list") required("list").scrollTo(0, 0);
  });
  afterSwap((target) => target === document.body && restoreScroll());
  window.addEventListener("pagehide", () => byId("rows") && tab.set(SCROLLED, JSON.stringify([...scrolled])));
  const [visit] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType?.("navigation") ?? []);
  if (!["back_forward", "reload"].includes(visit?.type)) return;
  try {
    for (const [query, top] of JSON.parse(tab.get(SCROLLED) ?? "")) scrolled.set(query, top);
  } catch {
    // Nothing was kept.
  }
  restoreScroll();
}

/** Put the list where it was when it was last shown. */
function restoreScroll() {
  const list = byId("list");
  const top = scrolled.get(location.search);
  if (list && top !== undefined && list.scrollTop !== top) list.scrollTop = top;
}

/**
 * Going back to another chat of the same list, or to the list alone, leaves the list as it is.
 *
 * @param {CustomEvent<{ path: string }>} event
 */
async function goBack(event) {
  const { pathname, search } = new URL(event.detail.path, location.href);
  const rows = byId("rows");
  if (!rows || !/^\/admin(\/chats(\/[0-9a-f]{24})?)?\/?$/.test(pathname)) return;
  if (listOf(new URL(rows.dataset.poll ?? "", location.href).search) !== listOf(search)) return;
  event.preventDefault();
  const chat = pathname.match(/[0-9a-f]{24}/)?.[0];
  if (chat) {
    const swap = { target: "#conversation", source: "#conversation", swap: "innerHTML" };
    await htmx.ajax("GET", pathname + search, swap);
    if (byId("chat")?.dataset.chat === chat || location.pathname !== pathname) return;
    // It was deleted.
    history.replaceState({ htmx: true }, "", `/admin${search}`);
  }
  if (byId("chat")) hideChat();
  showPlace();
  document.dispatchEvent(new CustomEvent("console:left"));
}

/**
 * What decides which rows a list has.
 *
 * @param {string} search
 */
function listOf(search) {
  const given = new URLSearchParams(search);
  return [narrowing(search), given.get("cursor"), given.get("limit")].join(" ");
}

export function watchNavigation() {
  document.addEventListener("htmx:config:request", tidyRequest);
  // What was typed has been asked for: leaving the field must not bring another list under the ticks.
  const keep = (/** @type {Event & { target: Element }} */ event) => event.target.id === "q" && event.stopPropagation();
  document.addEventListener("change", keep, { capture: true });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]") && !event.metaKey && !event.ctrlKey) {
      event.preventDefault();
      closeChat();
    }
    const toggle = event.target.closest("[data-toggle-filters]");
    if (toggle) {
      const open = required("filters").classList.toggle("open");
      toggle.setAttribute("aria-expanded", String(open));
    }
  });
  document.addEventListener("htmx:after:history:update", () => {
    showFilters();
    const first = document.querySelector("#rows .chats .name");
    if (!byId("chat") && !first) announce("No chat matches.");
  });
  document.addEventListener("console:closed", (event) => {
    if (byId("chat")?.dataset.chat !== event.detail.chat) return;
    leaveRow();
    closeChat();
  });
  watchOpening();
  watchScroll();
  document.addEventListener("htmx:before:history:restore", goBack);
  afterSwap(showPlace);
  showPlace();
}
