/** Puts answers into the page so that focus, typed text and open menus stay. */

/* global htmx */

import { afterListChange, rescueFocus } from "./rows.js";

htmx.registerExtension("console", {
  htmx_before_morph_node(_, { oldNode, newNode }) {
    // A time that has been written in the reader's zone stays as it is.
    return !(oldNode.tagName === "TIME" && oldNode.dateTime === newNode.dateTime);
  },
  htmx_before_morph_attr(element, { attrName, newValue }) {
    // Kept by rows.js: which row can be reached with Tab.
    if (attrName === "tabindex" && element.closest("#rows")) return false;
    // Kept by signals.js and choices.js: who types, who is online, what is marked.
    if (attrName === "open" || attrName === "data-typing" || attrName === "label" || attrName === "data-marked") return false;
    const busy = element.closest(".htmx-request");
    if (busy && attrName === "disabled" && newValue === null) return false;
    return !(attrName === "class" && element === busy);
  },
});

/**
 * Morph an element's content into what an answer says.
 *
 * @param {HTMLElement} pane
 * @param {string} text
 */
export function morphInto(pane, text) {
  const done = htmx.swap({ text, sourceElement: pane, target: pane, swap: "innerMorph" });
  if (pane.id === "list") afterListChange();
  document.dispatchEvent(new CustomEvent("console:morphed"));
  rescueFocus();
  showChoices(pane);
  return done;
}

/**
 * Let each select show the current value, unless the agent is using it.
 *
 * @param {Element} pane
 */
export function showChoices(pane) {
  /** @type {NodeListOf<HTMLSelectElement>} */
  const choices = pane.querySelectorAll(".controls select");
  for (const select of choices) {
    const fact = [...select.options].find((option) => option.defaultSelected);
    if (fact && select !== document.activeElement) select.value = fact.value;
  }
}
