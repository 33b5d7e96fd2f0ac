/** The button with the reader's own picture, and the menu to sign out. */

/** @import { User } from "../../../web/types/api.d.ts" */
/** @import { App } from "../../../web/types/chat.d.ts" */

import { h, isComposing, spoken } from "../dom.js";
import { avatar } from "./avatar.js";
import { setPassword } from "./sign_out.js";

/** @param {App} app */
export function accountMenu(app) {
  const user = /** @type {User} */ (app.session.user);
  const menu = h(
    "div",
    { class: "menu", id: "chat-account-menu", hidden: true },
    h("p", { class: "menu-name" }, h("strong", { dir: "auto" }, user.name), h("span", { class: "quiet-text" }, user.email)),
    user.role === "guest" ? h("p", { class: "note" }, "You are here as a guest.") : null,
    user.role === "guest" ? h("button", { type: "button", class: "button wide", onclick: () => leave(() => setPassword(app)) }, "Set a password") : null,
    h("button", { type: "button", class: "button wide", onclick: () => leave(() => app.signOut()) }, "Sign out"),
  );
  const button = h(
    "button",
    { type: "button", class: "account-button", "aria-expanded": "false", "aria-controls": menu.id, title: user.name, onclick: () => (menu.hidden ? unfold() : fold()) },
    avatar(user.name, user.image, app),
    spoken(`Account of ${user.name}`),
  );

  const outside = (/** @type {PointerEvent} */ event) => {
    if (!event.composedPath().includes(element)) fold();
  };
  function unfold() {
    menu.hidden = false;
    button.setAttribute("aria-expanded", "true");
    document.addEventListener("pointerdown", outside);
  }
  function fold() {
    menu.hidden = true;
    button.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside);
  }

  /**
   * Go on from a button of the menu, which is gone then: the focus must not be.
   *
   * @param {() => void} next
   */
  function leave(next) {
    fold();
    button.focus({ preventScroll: true });
    next();
  }

  const element = h("div", { class: "account" }, button, menu);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || menu.hidden || isComposing(event)) return;
    event.preventDefault();
    event.stopPropagation();
    fold();
    button.focus();
  });
  return element;
}
