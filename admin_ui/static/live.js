/**
 * The console's live connection: the inbox, and the chat that is looked at. What it brings only
 * leads to a fetch; without it the page polls every few seconds.
 */

import { LiveConnection } from "../../web/static/live_connection.js";
import { signingIn } from "./dialogs.js";
import { afterSwap, byId } from "./page.js";

/** Emits what LiveConnection emits, and "watch" with the chat that is subscribed to from now on, or null. */
export const live = new LiveConnection({
  url: () => `${location.origin.replace(/^http/, "ws")}/api/ws`,
  lastSeq: () => Number(byId("chat")?.dataset.last) || 0,
  firstRetry: 1000,
  maxRetry: 30_000,
  stableAfter: 10_000,
  // Without a session no attempt succeeds.
  isBlocked: signingIn,
});

/** Begin, on a page that has something to keep up to date. */
export function connect() {
  if (!byId("rows")) return;
  document.addEventListener("visibilitychange", follow);
  document.addEventListener("console:left", follow);
  document.addEventListener("console:contact", () => live.check());
  document.addEventListener("console:signedin", () => setTimeout(() => live.check()));
  // The server says that the session is over before the next page is here.
  document.addEventListener("submit", (event) => event.target.matches("[data-sign-out]") && live.pauseAfterLogout());
  afterSwap(follow);
  follow();
  live.start();
}

/** Subscribe to the chat that is looked at; while the tab is hidden, to the inbox alone. */
function follow() {
  live.watch(document.hidden ? null : byId("chat")?.dataset.chat ?? null);
}
