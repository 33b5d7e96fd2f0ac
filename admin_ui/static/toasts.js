/** Short messages in the corner. They disappear after some time, unless hovered or focused. */

import { afterSwap, byId, required } from "./page.js";

const SHORT = 4500;
const LONG = 12_000;

/**
 * Say something; kind is "ok" or "problem".
 *
 * @param {string} text
 * @param {"ok" | "problem"} kind
 */
export function toast(text, kind = "ok") {
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  if (kind === "problem") box.setAttribute("role", "alert");
  const words = document.createElement("p");
  words.textContent = text;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.dataset.dismiss = "";
  button.setAttribute("aria-label", "Dismiss");
  button.textContent = "✕";
  box.append(words, button);
  byId("toasts")?.append(box);
}

/** @param {HTMLElement} box */
function leave(box) {
  // One that offers something has to be read and reached.
  const wait = box.matches(".problem, :has(form)") ? LONG : SHORT;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const start = () => { timer = setTimeout(() => box.remove(), wait); };
  const hold = () => clearTimeout(timer);
  for (const name of ["pointerenter", "focusin"]) box.addEventListener(name, hold);
  for (const name of ["pointerleave", "focusout"]) box.addEventListener(name, start);
  start();
}

/** Watch for toasts from all sources; again when the whole page has been replaced. */
export function watchToasts() {
  watch();
  afterSwap((target) => target === document.body && watch());
  document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
    // What has been undone cannot be undone again, and what was refused not either.
    if (ctx.sourceElement.matches(".undo") && (ctx.response?.status ?? 500) < 500) ctx.sourceElement.closest(".toast")?.remove();
  });
}

/** Undo the last change that can be undone. */
export function undo() {
  [...document.querySelectorAll("#toasts [data-undo]")].at(-1)?.click();
}

function watch() {
  const place = required("toasts");
  new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.addedNodes) if (node instanceof HTMLElement) leave(node);
    }
    while (place.children.length > 4) place.firstElementChild?.remove();
  }).observe(place, { childList: true });
}
