/** Enter as a guest, sign in, or create an account. */

import { h, isComposing } from "../dom.js";
import { icon } from "../icons.js";
import { Field, form } from "./field.js";

const WAYS = {
  guest: { tab: "Guest", action: "Start chatting", note: "No account needed. Our team answers here in the chat; no e-mail is sent." },
  login: { tab: "Sign in", action: "Sign in", note: null },
  register: { tab: "Sign up", action: "Create account", note: "With an account you find your chats again on any device." },
};

function fieldsFor(way, { name, email }) {
  const fields = [];
  if (way !== "login") {
    fields.push(new Field({ name: "name", label: "Your name", autocomplete: "name", limit: 100, dir: "auto", value: name ?? "" }));
  }
  fields.push(
    new Field({ name: "email", label: "E-mail", type: "email", autocomplete: way === "guest" ? "email" : "username", inputmode: "email", value: email ?? "" }),
  );
  if (way !== "guest") {
    fields.push(
      new Field({
        name: "password",
        label: "Password",
        type: "password",
        autocomplete: way === "login" ? "current-password" : "new-password",
        hint: way === "register" ? "At least 8 characters; a sentence is a good password." : undefined,
      }),
    );
  }
  return fields;
}

/** The ways in as tabs. `ways` names those offered, `known` fills in name and e-mail. */
export function signIn({ session, ways = ["guest", "login", "register"], known = {} }) {
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
    const next = (tabs.indexOf(event.target) + step + tabs.length) % tabs.length;
    choose(ways[next]);
    tabs[next].focus();
  });

  function choose(way) {
    for (const control of panel.querySelectorAll("input")) if (control.name !== "password") typed[control.name] = control.value;
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(ways[i] === way));
      tab.tabIndex = ways[i] === way ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", `chat-tab-${way}`);
    const text = WAYS[way];
    const { element } = form({
      fields: fieldsFor(way, typed),
      label: text.tab,
      action: text.action,
      submit: (values) => session.enter(way, values),
      after: text.note ? h("p", { class: "note" }, text.note) : null,
    });
    panel.replaceChildren(element);
  }

  choose(ways[0]);
  return h("div", { class: "sign-in" }, list, panel);
}

/** The whole first page of somebody who is not signed in. */
export function welcome({ session }) {
  return h(
    "div",
    { class: "welcome" },
    h(
      "div",
      { class: "card" },
      h("span", { class: "mark", "aria-hidden": "true" }, icon("chat")),
      h("h2", { tabindex: -1 }, "How can we help?"),
      h("p", { class: "lead" }, "Write to us and get an answer from a person on our team."),
      signIn({ session }),
    ),
  );
}
