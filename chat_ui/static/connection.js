/** Whether the service can be reached, as seen by the requests and by the browser. */

import { Emitter } from "../../web/static/emitter.js";

/**
 * `state` is "online", "offline" or "unavailable". Emits "change" with the state, and
 * "back" when contact is restored: then what is on the screen may be out of date.
 */
export class Connection extends Emitter {
  state = navigator.onLine ? "online" : "offline";

  constructor() {
    super();
    window.addEventListener("offline", () => this.report("offline"));
    // The browser knows a network, which is not yet a server: the next request decides.
    window.addEventListener("online", () => this.emit("maybe"));
  }

  /** @param {"ok" | "offline" | "unavailable"} contact */
  report(contact) {
    const state = contact === "ok" ? "online" : contact;
    if (state === this.state) return;
    const wasAway = this.state !== "online";
    this.state = state;
    this.emit("change", state);
    if (wasAway && state === "online") this.emit("back");
  }
}
