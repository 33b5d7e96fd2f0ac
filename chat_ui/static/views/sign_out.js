/** The confirmation before a user signs out and would lose something. */

/** @import { User } from "../../../web/types/api.d.ts" */
/** @import { App } from "../../../web/types/chat.d.ts" */

import { h } from "../dom.js";
import { plural } from "../text.js";
import { openDialog } from "./dialog.js";
import { Field, form, passwordHint } from "./field.js";

/**
 * Resolve to whether to sign out. A guest's token is all they have: without it their chats are lost.
 *
 * @param {App} app
 * @returns {Promise<boolean>}
 */
export function confirmSignOut(app) {
  const unsent = app.outbox.size;
  const forfeits = app.session.user?.role === "guest" && (!app.store.loaded || app.store.chats.length > 0);
  if (!forfeits && unsent === 0) return Promise.resolve(true);
  return new Promise((resolve) => {
    let leave = false;
    const stay = h("button", { type: "button", class: forfeits ? "button wide" : "button primary wide", onclick: () => dialog.close() }, "Stay signed in");
    const content = h(
      "div",
      { class: "form" },
      forfeits ? h("p", { tabindex: -1 }, "You are here as a guest. If you sign out, you can never open your chats again, on this device or another.") : null,
      unsent > 0 ? h("p", {}, `${plural(unsent, "message")} could not be sent yet. ${unsentFate(unsent, forfeits)}`) : null,
      forfeits ? passwordForm(app, () => dialog.close()) : null,
      stay,
      h("button", { type: "button", class: "button wide", onclick: () => { leave = true; dialog.close(); } }, forfeits ? "Sign out and lose the chats" : "Sign out anyway"),
    );
    const dialog = openDialog(app, { title: "Sign out?", content, focus: () => content.querySelector("[tabindex]") ?? stay, onclose: () => resolve(leave) });
  });
}

/**
 * @param {number} unsent
 * @param {boolean} forfeits
 */
function unsentFate(unsent, forfeits) {
  if (forfeits) return unsent === 1 ? "It is lost as well." : "They are lost as well.";
  return `${unsent === 1 ? "It stays" : "They stay"} on this device until you sign in again.`;
}

/**
 * Let a guest keep their chats: with a password they have an account.
 *
 * @param {App} app
 */
export function setPassword(app) {
  const content = h(
    "div",
    { class: "form" },
    h("p", {}, "With a password you find your chats again on any device. You sign in with ", h("bdi", {}, app.session.user?.email), "."),
    passwordForm(app, () => dialog.close()),
  );
  const dialog = openDialog(app, { title: "Set a password", content, focus: () => content.querySelector("input[type=password]") });
}

/**
 * @param {App} app
 * @param {() => void} close
 */
function passwordForm(app, close) {
  const { email } = /** @type {User} */ (app.session.user);
  const password = new Field({ name: "password", label: "New password", type: "password", autocomplete: "new-password", hint: passwordHint(app) });
  return form({
    fields: [password],
    label: "Set a password",
    action: "Set a password and keep the chats",
    // Password managers store the password under this name.
    before: h("input", { type: "text", name: "username", autocomplete: "username", value: email, hidden: true }),
    submit: async (values) => {
      await app.session.upgrade(values.password);
      close();
      app.account.querySelector("button")?.focus({ preventScroll: true });
      app.toasts.show(`You have an account now. Sign in with ${email} and your password.`);
    },
  }).element;
}
