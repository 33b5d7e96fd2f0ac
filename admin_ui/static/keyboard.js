/** Keys. Those that are a single letter can be switched off in the help. */

import { showSwitches } from "./alerts.js";
import { openTemplate } from "./dialogs.js";
import { closeChat } from "./navigation.js";
import { byId } from "./page.js";
import { step } from "./rows.js";
import { deselect } from "./selection.js";
import { local } from "./storage.js";
import { undo } from "./toasts.js";

const OFF = "shortcuts-off";
const on = () => local.get(OFF) === null;

function help() {
  openTemplate("help");
  const box = /** @type {HTMLInputElement} */ (document.querySelector("#dialogs [data-shortcuts]"));
  box.checked = on();
  showSwitches();
}

/** @type {Record<string, () => void>} */
const letters = {
  j: () => step(1),
  k: () => step(-1),
  x: () => document.activeElement?.closest("#rows tr")?.querySelector("input[name=ids]")?.click(),
  r: () => byId("message")?.focus(),
  u: undo,
  "/": () => byId("q")?.focus(),
  "?": help,
};

/** @param {KeyboardEvent & { target: HTMLElement }} event */
function escape(event) {
  if (document.querySelector(":popover-open")) return; // the browser closes it
  const menu = /** @type {HTMLDetailsElement | null} */ (document.querySelector("details.menu[open]"));
  if (menu) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  } else if (event.target.id === "q" && byId("q")?.value) {
    // The browser empties the field.
  } else if (!event.target.closest?.("#conversation") && deselect()) {
    // Nothing is ticked any more: the chat stays open.
  } else if (byId("chat") || document.querySelector(".kept-chat")) {
    closeChat();
  } else if (event.target.matches("input, textarea")) {
    event.target.blur();
  }
}

export function watchKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      escape(event);
      return;
    }
    const inList = event.target.closest?.("#list");
    if (inList && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      step(event.key === "ArrowDown" ? 1 : -1);
      return;
    }
    if (!on() || event.target.matches("input:not([type=checkbox]), textarea, select")) return;
    const act = letters[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  document.addEventListener("click", (event) => event.target.closest("[data-help]") && help());
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-shortcuts]")) return;
    if (event.target.checked) local.remove(OFF);
    else local.set(OFF, "yes");
  });
}
