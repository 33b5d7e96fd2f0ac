/** Sends the answer that is being written. */

import { newId } from "../../web/static/ids.js";
import { keepDraft } from "./drafts.js";
import { afterSwap, byId, required } from "./page.js";
import { leaveRow } from "./rows.js";

const touch = matchMedia("(hover: none) and (pointer: coarse)");

/** The text as it was when it was sent. */
let sent = "";

/**
 * The message is in the history: take it out of the field, but nothing typed since.
 *
 * @param {HTMLFormElement} form
 */
function accepted(form) {
  const text = required("message");
  text.value = text.value.startsWith(sent) ? text.value.slice(sent.length).trimStart() : text.value;
  form.clientMessageId.value = newId();
  required("composer-error").replaceChildren();
  text.removeAttribute("aria-invalid");
  keepDraft(text);
}

/** @param {KeyboardEvent & { target: any }} event */
function onKey(event) {
  if (event.target.id !== "message" || event.key !== "Enter" || event.shiftKey) return;
  // Enter that ends a word in an input method is no Enter.
  if (event.isComposing || event.keyCode === 229 || touch.matches) return;
  event.preventDefault();
  const form = event.target.form;
  if (event.target.value.trim() && !form.matches(".htmx-request")) form.requestSubmit(form.querySelector("[data-send]"));
}

export function watchComposer() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("htmx:before:request", ({ detail: { ctx: { sourceElement } } }) => {
    if (sourceElement.id === "composer") sent = required("message").value;
  });
  document.addEventListener("htmx:after:request", ({ detail: { ctx: { sourceElement, request, response } } }) => {
    if (sourceElement.id !== "composer" || !response || response.status >= 300) return;
    accepted(/** @type {HTMLFormElement} */ (sourceElement));
    // Sent by the button that closes the chat as well.
    if (request.body.has("status")) leaveRow();
  });
  afterSwap((target) => {
    if (target.id === "composer-error" && target.textContent.trim()) byId("message")?.setAttribute("aria-invalid", "true");
  });
}
