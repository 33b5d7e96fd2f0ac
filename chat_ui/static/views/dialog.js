/** Dialogs: modal on the chat's own page, inside its panel in the widget. */

/** @import { App } from "../../../web/types/chat.d.ts" */

import { activeElement, h, isComposing } from "../dom.js";
import { icon } from "../icons.js";

let count = 0;

/**
 * Show `content` in a dialog and return {element, close}.
 *
 * On its own page the dialog is modal. In a widget it must not block the page around it: it
 * covers the panel and makes the panel's other content inert instead. Closing returns the
 * focus to where it was. `onclose` is called after any way of closing.
 *
 * @param {App} app
 * @param {{ title: string, content: Node, onclose?: () => void, focus?: () => HTMLElement | null | undefined }} options
 */
export function openDialog(app, { title, content, onclose, focus }) {
  count += 1;
  const id = `chat-dialog-${count}`;
  const modal = app.mode === "page";
  const before = /** @type {HTMLElement | null} */ (activeElement(app.root));

  // Everything is undone immediately, so that the caller can set the focus afterwards.
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    app.dialogs.delete(close);
    if (element.open) element.close();
    element.remove();
    if (!modal) app.frame.inert = app.root.querySelector("dialog[open]") !== null;
    if (before?.isConnected) before.focus({ preventScroll: true });
    onclose?.();
  };
  const element = h(
    "dialog",
    { class: "dialog", "aria-labelledby": id },
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { id }, title),
      h("button", { type: "button", class: "icon-button", "aria-label": "Close", title: "Close", onclick: close }, icon("close")),
    ),
    h("div", { class: "dialog-body" }, content),
  );

  // Escape would close a modal dialog by itself and tell of it later, when the focus may have moved on.
  element.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  element.addEventListener("close", close);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || modal || isComposing(event)) return;
    event.preventDefault();
    event.stopPropagation();
    close();
  });
  // A press that begins and ends on the backdrop closes; dragging a selection out does not.
  let pressed = false;
  element.addEventListener("pointerdown", (event) => (pressed = event.target === element));
  element.addEventListener("click", (event) => {
    if (pressed && event.target === element && !hasText(element)) close();
  });

  app.dialogs.add(close);
  app.root.append(element);
  if (modal) {
    element.showModal();
  } else {
    app.frame.inert = true;
    element.show();
  }
  (focus?.() ?? element.querySelector("input, textarea, .primary"))?.focus();
  return { element, close };
}

/** @param {Element} element */
function hasText(element) {
  /** @type {NodeListOf<HTMLInputElement>} */
  const controls = element.querySelectorAll("input, textarea");
  return [...controls].some((control) => control.value.trim() !== "");
}
