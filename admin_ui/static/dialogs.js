/** Dialogs over the page, the one to sign in among them. */

/* global htmx */

import { afterSwap, agent, byId, required, setCsrf } from "./page.js";
import { rescueFocus } from "./rows.js";
import { toast } from "./toasts.js";

const DONE = "signed in";

export function signingIn() {
  const dialog = byId("sign-in");
  // One that is closed stays in the page for another moment.
  return dialog !== null && dialog.returnValue !== DONE;
}

/**
 * Open the dialog to sign in over the page, unless it is open.
 *
 * @param {string} html
 */
export function askToSignIn(html) {
  if (signingIn()) return;
  const place = required("dialogs");
  htmx.swap({ text: html, sourceElement: place, target: place, swap: "beforeend" });
}

/**
 * Open a dialog that is in a template of the page.
 *
 * @param {"help" | "leave"} id
 */
export function openTemplate(id) {
  if (document.querySelector("dialog[open]")) return;
  required("dialogs").append(required(id).content.cloneNode(true));
  openAll();
}

function openAll() {
  /** @type {NodeListOf<HTMLDialogElement>} */
  const closed = required("dialogs").querySelectorAll("dialog:not([open])");
  for (const dialog of closed) {
    const email = /** @type {HTMLInputElement | null} */ (dialog.querySelector("input[name=email]"));
    const password = dialog.querySelector("input[name=password]");
    if (email && !email.value) {
      email.value = document.body.dataset.email ?? "";
      email.autofocus = false;
      if (password) password.autofocus = true;
    }
    dialog.showModal();
  }
}

/**
 * @param {HTMLDialogElement | null | undefined} dialog
 * @param {string} result
 */
function dismiss(dialog, result = "") {
  dialog?.close(result);
}

export function watchDialogs() {
  afterSwap((target) => target.id === "dialogs" && openAll());

  document.addEventListener("click", (event) => {
    const dialog = event.target.closest("dialog");
    if (event.target.closest("[data-dismiss]")) {
      const place = event.target.closest("dialog, .toast");
      if (!place) return;
      event.preventDefault();
      if (place.tagName === "DIALOG") {
        dismiss(/** @type {HTMLDialogElement} */ (place));
      } else {
        place.remove();
        rescueFocus();
      }
    } else if (dialog && event.target === dialog && dialog.id !== "sign-in") {
      dismiss(dialog); // the backdrop
    }
  });
  document.addEventListener("cancel", (event) => {
    if (event.target.id === "sign-in") event.preventDefault();
  }, true);
  document.addEventListener("close", (event) => {
    event.target.remove();
    // Chromium gives the focus back, but the caret is gone with the dialog's last field.
    const nextFocus = /** @type {HTMLElement | null} */ (document.activeElement);
    nextFocus?.blur();
    nextFocus?.focus({ preventScroll: true });
    rescueFocus();
  }, true);

  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx } = event.detail;
    // What was typed into the open dialog must not be replaced by a second one.
    if (ctx.response?.status === 401 && ctx.hx?.retarget === "#dialogs" && signingIn()) event.preventDefault();
  });
  for (const name of ["console:dismiss", "console:closed", "console:redacted"]) {
    document.addEventListener(name, () => dismiss(document.querySelector("#dialogs dialog:not(#sign-in)")));
  }
  document.addEventListener("console:signedin", (event) => {
    if (event.detail.agent !== agent()) {
      location.reload();
      return;
    }
    setCsrf(event.detail.token);
    dismiss(byId("sign-in"), DONE);
    toast("You are signed in again.");
    document.dispatchEvent(new CustomEvent("console:changed"));
  });
  document.addEventListener("console:csrf", (event) => setCsrf(event.detail.token));
}
