/** Says in the bar how updates come in, unless they come in live. */

import { live } from "./live.js";
import { afterSwap, required } from "./page.js";
import { isReachable } from "./refresh.js";

/** A connection that is opened within this time is not worth a word. */
const STATUS_DELAY = 1500;
/** After so many attempts in vain something on the way does not let WebSockets through. */
const FAILURES_BEFORE_POLLING = 4;

const TEXTS = {
  polling: { text: "Not live", title: "There is no live connection. News are fetched every few seconds." },
  reconnecting: { text: "Reconnecting…", title: "The live connection is being made. Meanwhile news are fetched every few seconds." },
};

/** @type {ReturnType<typeof setTimeout> | null} */
let timer = null;

export function watchLiveStatus() {
  live.on("up", show);
  live.on("down", () => { required("link").dataset.state = "reconnecting"; });
  live.on("state", () => {
    if (!live.isLive) timer ??= setTimeout(show, STATUS_DELAY);
  });
  afterSwap((target) => target === document.body && show());
}

function show() {
  clearTimeout(timer ?? undefined);
  timer = null;
  const place = required("link");
  const isPolling = live.failures >= FAILURES_BEFORE_POLLING && isReachable();
  const state = isPolling ? "polling" : "reconnecting";
  place.hidden = live.isLive;
  place.dataset.state = live.isLive ? "live" : state;
  if (live.isLive) return;
  const { text, title } = TEXTS[state];
  place.title = title;
  const words = /** @type {Element} */ (place.lastElementChild);
  if (words.textContent !== text) words.textContent = text;
}
