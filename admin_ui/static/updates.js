/** What the live connection leads to: each event is a nudge to fetch what is shown again. */

import { signingIn } from "./dialogs.js";
import { check, on } from "./live.js";
import { scheduleRefresh, pace, refresh } from "./refresh.js";

const REFRESHING_EVENTS = new Set(["chat", "message", "read", "deleted"]);

export function watchLiveUpdates() {
  let wasUp = false;
  on("event", (name) => REFRESHING_EVENTS.has(name) && scheduleRefresh());
  on("refused", () => refresh());
  on("down", () => pace(false));
  on("up", () => {
    pace(true);
    // From here on news come in by themselves: now fetch what came before.
    refresh({ anew: wasUp });
    wasUp = true;
  });
  on("ended", async (code) => {
    if (code !== "session_ended" && code !== "forbidden") return;
    // The answer asks to sign in, or tells that this is no agent any more.
    await refresh();
    // Another tab may have signed in again.
    if (!signingIn()) check();
  });
}
