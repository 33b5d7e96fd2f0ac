/** What the live connection leads to: each event is a nudge to fetch what is shown again. */

import { signingIn } from "./dialogs.js";
import { live } from "./live.js";
import { scheduleRefresh, pace, refresh } from "./refresh.js";

const REFRESHING_EVENTS = new Set(["chat", "message", "read", "deleted"]);

export function watchLiveUpdates() {
  let wasUp = false;
  live.on("event", ({ event }) => REFRESHING_EVENTS.has(event) && scheduleRefresh());
  live.on("refused", () => refresh());
  live.on("down", () => pace(false));
  live.on("up", () => {
    pace(true);
    // From here on updates come in live: now fetch what came before.
    refresh({ abortPending: wasUp });
    wasUp = true;
  });
  live.on("ended", async (code) => {
    if (code !== "session_ended" && code !== "forbidden") return;
    // The answer asks to sign in, or says that this is no agent any more.
    await refresh();
    // Another tab may have signed in again.
    if (!signingIn()) live.check();
  });
}
