/**
 * The open chat's status, priority, category and agent. A key only marks a choice: Enter or
 * leaving the field applies it, Esc takes it back. What is picked with the mouse applies at once.
 */

/* global htmx */

/** @import { HtmxContext } from "../../web/types/console.d.ts" */

import { announce, byId } from "./page.js";

/** The field in which keys have marked a choice that is not applied yet. @type {HTMLSelectElement | null} */
let marked = null;

/** @type {(select: HTMLSelectElement) => HTMLOptionElement | undefined} */
const stored = (select) => [...select.options].find((option) => option.defaultSelected);

/** @type {(element: HTMLElement) => boolean} */
const isChoice = (element) => element.matches?.(".controls select");

/** @param {KeyboardEvent} event */
function movesChoice({ key, altKey, ctrlKey, metaKey }) {
  if (altKey || ctrlKey || metaKey) return false;
  return /^(Arrow|Home$|End$|Page)/.test(key) || (key.length === 1 && key !== " ");
}

function unmark() {
  marked?.removeAttribute("data-marked");
  marked = null;
}

/** @param {HTMLSelectElement} select */
function apply(select) {
  unmark();
  if (select.isConnected && stored(select) !== select.selectedOptions[0]) htmx.trigger(/** @type {HTMLFormElement} */ (select.form), "apply");
}

/** @param {KeyboardEvent & { target: any }} event */
function onKey(event) {
  const select = event.target;
  if (!isChoice(select)) return;
  if (marked === select && event.key === "Enter") {
    event.preventDefault();
    apply(select);
  } else if (marked === select && event.key === "Escape") {
    event.preventDefault();
    select.value = stored(select)?.value ?? "";
    unmark();
  } else if (movesChoice(event)) {
    marked = select;
  }
}

/**
 * Put away the sheet that a small screen shows the choices on, once one of them is made.
 *
 * @param {CustomEvent<{ ctx: HtmxContext }>} event
 */
function fold({ detail: { ctx } }) {
  const sheet = byId("controls");
  if (sheet?.contains(ctx.sourceElement) && sheet.matches(":popover-open")) sheet.hidePopover();
}

export function watchChoices() {
  document.addEventListener("htmx:after:request", fold);
  // Before the keys of the page, for which Esc means something else.
  document.addEventListener("keydown", onKey, { capture: true });
  document.addEventListener("pointerdown", unmark, { capture: true });
  document.addEventListener("change", ({ target }) => {
    if (!isChoice(target)) return;
    if (marked !== target) {
      apply(target);
      return;
    }
    target.setAttribute("data-marked", "");
    announce(`${target.selectedOptions[0].text}: Enter applies it, Escape takes it back.`);
  });
  document.addEventListener("focusout", ({ target }) => {
    // The window that loses the focus does not mean the field.
    if (marked === target && document.hasFocus()) apply(marked);
  });
}
