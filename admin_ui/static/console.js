/** Starts everything. All listeners stand on the document: the page below may be replaced. */

import { watchAlerts } from "./alerts.js";
import { watchChoices } from "./choices.js";
import { watchComposer } from "./composer.js";
import { watchConversation } from "./conversation.js";
import { watchDialogs } from "./dialogs.js";
import { watchDrafts } from "./drafts.js";
import { watchKeys } from "./keyboard.js";
import { connect } from "./live.js";
import { watchLiveStatus } from "./live_status.js";
import { watchNavigation } from "./navigation.js";
import { watchLiveUpdates } from "./updates.js";
import { afterSwap, byId } from "./page.js";
import { keepFresh, refresh } from "./refresh.js";
import { watchRows } from "./rows.js";
import { watchSelection } from "./selection.js";
import { watchSignals } from "./signals.js";
import { localise, rememberZone, zoneIsKept } from "./times.js";
import { toast, watchToasts } from "./toasts.js";

const newZone = rememberZone();
localise();
// Before the first try, which would be refused. Browsers that block cookies may say they do not.
const noCookies = byId("no-cookies");
if (noCookies && !zoneIsKept()) noCookies.hidden = false;

if (byId("dialogs")) {
  afterSwap(() => localise());
  // A picture that does not load leaves the initials.
  document.addEventListener("error", (event) => event.target.matches?.(".avatar img") && event.target.remove(), true);
  // Of a form's buttons, the one that was pressed shows that it works.
  document.addEventListener("submit", (event) => event.submitter?.setAttribute("aria-busy", "true"));
  document.addEventListener("htmx:finally:request", ({ target }) => {
    for (const button of target.querySelectorAll("button[aria-busy]")) button.removeAttribute("aria-busy");
  });
  // An answer that is not ours, such as a proxy's error page, is not put into the page.
  document.addEventListener("htmx:before:response", (event) => {
    const { response } = event.detail.ctx;
    if (response?.headers.has("X-Request-Id")) return;
    event.preventDefault();
    toast("The server cannot be reached right now. Nothing was changed.", "problem");
  });
  watchToasts();
  watchDialogs();
  watchChoices();
  watchDrafts();
  watchConversation();
  watchComposer();
  watchRows();
  watchSelection();
  watchNavigation();
  watchKeys();
  watchLiveUpdates();
  watchSignals();
  watchLiveStatus();
  watchAlerts();
  keepFresh();
  connect();
  // The days of the open conversation were parted in another zone.
  if (newZone && byId("chat")) refresh();
}
