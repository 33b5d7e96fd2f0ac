/** A visitor's first message: one press makes the guest and the chat. */

/** @import { User } from "../../../web/types/api.d.ts" */
/** @import { App, NewChatDraft, Typed } from "../../../web/types/chat.d.ts" */

import { newId } from "../../../web/static/ids.js";
import { ApiError } from "../api.js";
import { NEW_CHAT } from "../drafts.js";
import { Field, form } from "./field.js";
import { createChat } from "./new_chat.js";

const NOTE = "No account needed. Our team answers here in the chat; no e-mail is sent.";

/**
 * The form for a visitor without an account; `known` fills in `name`, `email` and `message`.
 *
 * @param {App} app
 * @param {Typed} [known]
 */
export function firstMessage(app, known = {}) {
  /** @type {NewChatDraft} */
  const draft = app.drafts.get(NEW_CHAT) || { clientMessageId: newId() };
  const message = new Field({
    name: "message",
    label: "Your message",
    control: "textarea",
    rows: 3,
    limit: () => app.config.limits.message,
    dir: "auto",
    value: known.message || draft.message || "",
    placeholder: "What can we do for you?",
  });
  const email = new Field({ name: "email", label: "E-mail", type: "email", autocomplete: "email", inputmode: "email", value: known.email ?? "" });
  const name = new Field({ name: "name", label: "Your name", autocomplete: "name", limit: () => app.config.limits.name, dir: "auto", optional: true, value: known.name ?? "" });

  const keep = () => {
    draft.message = message.value;
    app.drafts.set(NEW_CHAT, draft.message ? draft : null);
  };
  message.control.addEventListener("input", keep);

  /** The guest that a press has made whose chat could not be made; the next press goes on as them. */
  let guest = /** @type {{ name: string, email: string, user: User } | null} */ (null);
  const enter = async (/** @type {{ name: string, email: string }} */ who) => {
    if (guest?.name !== who.name || guest.email !== who.email) guest = { ...who, user: await app.session.open("guest", who) };
    return guest.user;
  };

  return form({
    fields: [message, email, name],
    label: "Write to us",
    action: "Start chat",
    note: NOTE,
    submit: async (values) => {
      keep();
      const address = values.email.trim();
      const user = await enter({ email: address, name: values.name.trim() || address.split("@", 1)[0] });
      try {
        const chat = await createChat(app, { message: values.message }, draft.clientMessageId);
        app.drafts.set(NEW_CHAT, null);
        app.enterWith(user, chat);
      } catch (error) {
        if (error instanceof ApiError && error.signedOut) guest = null;
        throw error;
      }
    },
  }).element;
}
