/** The ways in: write as a guest, sign in, or create an account. */

/** @import { App, Typed, Way } from "../../../web/types/chat.d.ts" */

import { h, isComposing } from "../dom.js";
import { icon } from "../icons.js";
import { Field, form, passwordHint } from "./field.js";
import { firstMessage } from "./first_message.js";

const WAYS = {
  guest: { tab: "Guest" },
  login: { tab: "Sign in", action: "Sign in", note: null },
  register: { tab: "Sign up", action: "Create account", note: "With an account you find your chats again on any device." },
};

/**
 * @param {App} app
 * @param {Way} way
 * @param {Typed} typed
 */
function fieldsFor(app, way, { name, email }) {
  const fields = [];
  if (way === "register") {
    fields.push(new Field({ name: "name", label: "Your name", autocomplete: "name", limit: () => app.config.limits.name, dir: "auto", value: name ?? "" }));
  }
  fields.push(
    new Field({ name: "email", label: "E-mail", type: "email", autocomplete: "username", inputmode: "email", value: email ?? "" }),
    new Field({
      name: "password",
      label: "Password",
      type: "password",
      autocomplete: way === "login" ? "current-password" : "new-password",
      hint: way === "register" ? passwordHint(app) : undefined,
    }),
  );
  return fields;
}

/**
 * @param {App} app
 * @param {"login" | "register"} way
 * @param {Typed} typed
 */
function account(app, way, typed) {
  const { tab, action, note } = WAYS[way];
  return form({ fields: fieldsFor(app, way, typed), label: tab, action, note, submit: (values) => app.session.enter(way, values) }).element;
}

/**
 * The ways in as tabs. `ways` names those offered, `known` fills in name, e-mail and message.
 *
 * @param {App} app
 * @param {{ ways?: Way[], known?: Typed }} [options]
 */
export function signIn(app, { ways = ["guest", "login", "register"], known = {} } = {}) {
  const panel = h("div", { class: "sign-in-panel", role: "tabpanel", id: "chat-sign-in-panel" });
  const typed = { ...known };

  const tabs = ways.map((way) =>
    h("button", { type: "button", role: "tab", id: `chat-tab-${way}`, class: "tab", "aria-controls": "chat-sign-in-panel", onclick: () => choose(way) }, WAYS[way].tab),
  );
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": "How to enter", hidden: ways.length < 2 }, tabs);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || isComposing(event)) return;
    event.preventDefault();
    const next = (tabs.indexOf(/** @type {HTMLButtonElement} */ (event.target)) + step + tabs.length) % tabs.length;
    choose(ways[next]);
    tabs[next].focus();
  });

  /** @param {Way} way */
  function choose(way) {
    /** @type {NodeListOf<HTMLInputElement>} */
    const controls = panel.querySelectorAll("input, textarea");
    for (const { name, value } of controls) if (name !== "password") Object.assign(typed, { [name]: value });
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(ways[i] === way));
      tab.tabIndex = ways[i] === way ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", `chat-tab-${way}`);
    panel.replaceChildren(way === "guest" ? firstMessage(app, typed) : account(app, way, typed));
  }

  choose(ways[0]);
  return h("div", { class: "sign-in" }, list, panel);
}

/**
 * The first page of a visitor who is not signed in.
 *
 * @param {App} app
 */
export function welcome(app) {
  return h(
    "div",
    { class: "welcome" },
    h(
      "div",
      { class: "card" },
      h("span", { class: "mark", "aria-hidden": "true" }, icon("chat")),
      h("h2", { tabindex: -1 }, "How can we help?"),
      h("p", { class: "lead" }, "Write to us and get an answer from a person on our team."),
      signIn(app),
    ),
  );
}
