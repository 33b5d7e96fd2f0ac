/** The address, the title and what they stand for: views, filters, the open chat. */

/* global htmx */

import { afterSwap, announce, byId } from "./page.js";

const FILTERS = ["status", "priority", "category", "assigned", "unread", "q"];

/** Close the conversation and stay in the list. */
export function closeChat() {
  const pane = byId("conversation");
  const chat = byId("chat")?.dataset.chat;
  pane.replaceChildren(byId("empty").content.cloneNode(true));
  htmx.process(pane);
  history.pushState({ htmx: true }, "", `/admin${location.search}`);
  showPlace();
  document.dispatchEvent(new CustomEvent("console:left"));
  byId(`open-${chat}`)?.focus({ preventScroll: true });
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
  for (const link of document.querySelectorAll("[data-view]")) {
    if (narrowing(link.search) === here) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  const unread = Number(rows.dataset.unread);
  const badge = byId("unread-total");
  badge.hidden = unread === 0;
  badge.firstElementChild.textContent = unread;
  document.title = `${unread ? `(${unread}) ` : ""}${chat?.dataset.subject ?? "Inbox"}`;
}

function narrowing(search) {
  const given = new URLSearchParams(search);
  const pairs = FILTERS.flatMap((name) => statuses(given.getAll(name)).map((value) => `${name}=${value}`));
  return pairs.sort().join("&");
}

function statuses(values) {
  return values.filter(Boolean).flatMap((value) => (value === "open" ? ["active", "pending"] : [value]));
}

/** Let the filters' fields say what the address says. */
function showFilters() {
  const form = byId("filters");
  if (!form) return;
  const given = new URLSearchParams(location.search);
  for (const field of form.elements) {
    if (!FILTERS.includes(field.name) || field === document.activeElement) continue;
    const values = given.getAll(field.name);
    field.value = values.length > 1 && field.name === "status" ? "open" : values[0] ?? "";
  }
  document.querySelector("[data-clear]").hidden = narrowing(location.search) === "";
}

/** Leave empty fields out of the address, and keep the open chat in it. */
function tidyRequest(event) {
  const { ctx } = event.detail;
  const { form, body } = ctx.request;
  const filtering = form?.matches(".filters");
  if (filtering && body instanceof FormData) {
    for (const [name, value] of [...body]) if (!value.trim()) body.delete(name);
  }
  if (ctx.target?.id !== "list") return;
  const query = filtering ? new URLSearchParams(body).toString() : new URL(ctx.request.action, location.href).search.slice(1);
  const chat = byId("chat");
  const address = (chat ? `/admin/chats/${chat.dataset.chat}` : "/admin") + (query ? `?${query}` : "");
  // Each letter of a search is no place to go back to.
  const typing = ctx.sourceEvent?.target?.id === "q" && new URLSearchParams(location.search).has("q");
  ctx.push = typing ? null : address;
  ctx.replace = typing ? address : null;
}

export function watchNavigation() {
  document.addEventListener("htmx:config:request", tidyRequest);
  // What was typed has been asked for: leaving the field must not bring another list under the ticks.
  const keep = (event) => event.target.id === "q" && event.stopPropagation();
  document.addEventListener("change", keep, { capture: true });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]") && !event.metaKey && !event.ctrlKey) {
      event.preventDefault();
      closeChat();
    }
    const toggle = event.target.closest("[data-toggle-filters]");
    if (toggle) {
      const open = byId("filters").classList.toggle("open");
      toggle.setAttribute("aria-expanded", String(open));
    }
  });
  document.addEventListener("htmx:after:history:update", () => {
    showFilters();
    byId("list")?.scrollTo(0, 0);
    const first = document.querySelector("#rows .chats .name");
    if (!byId("chat") && !first) announce("No chat matches.");
  });
  document.addEventListener("console:closed", (event) => {
    if (byId("chat")?.dataset.chat === event.detail.chat) closeChat();
  });
  afterSwap(showPlace);
  showPlace();
}
