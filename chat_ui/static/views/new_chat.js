/** The dialog that starts a chat; what is typed in it survives a reload. */

import { ApiError } from "../api.js";
import { h } from "../dom.js";
import { newId } from "../ids.js";
import { capital, tidy } from "../text.js";
import { openDialog } from "./dialog.js";
import { explain, Field, form } from "./field.js";

const DRAFT = "new";

/** Open the dialog; `message` fills in the first message. */
export function newChat(app, { message } = {}) {
  const draft = app.drafts.get(DRAFT) || { clientMessageId: newId() };
  if (message) draft.message = message;
  const { categories, limits } = app.config;

  const subject = new Field({ name: "subject", label: "Subject", limit: limits.subject, dir: "auto", autocomplete: "off", value: draft.subject ?? "", placeholder: "What is it about?" });
  const category = new Field({ name: "category", label: "Category", control: "select", options: categories.map((name) => [name, capital(name)]) });
  category.value = categories.includes(draft.category) ? draft.category : categories[0];
  const text = new Field({ name: "message", label: "Message", control: "textarea", rows: 5, limit: limits.message, dir: "auto", optional: true, value: draft.message ?? "", placeholder: "Tell us what happened, as exactly as you can." });

  const keep = () => {
    Object.assign(draft, { subject: subject.value, category: category.value, message: text.value });
    app.drafts.set(DRAFT, draft.subject || draft.message ? draft : null);
  };
  for (const field of [subject, category, text]) field.control.addEventListener("input", keep);

  const { element } = form({
    fields: [subject, category, text],
    label: "New chat",
    action: "Start chat",
    submit: async (values) => {
      keep();
      const chat = await create(app, values, draft.clientMessageId);
      app.drafts.set(DRAFT, null);
      app.store.applyChat(chat);
      dialog.close();
      app.toasts.show("Your chat has started.");
      app.openChat(chat._id);
    },
    problem: (error) => (error.code === "chat_open" ? alreadyOpen(app, error, text.value, () => dialog.close()) : explain(error)),
  });
  const dialog = openDialog(app, { title: "New chat", content: element, focus: () => subject.control });
}

async function create(app, { subject, category, message }, clientMessageId) {
  const body = { subject: subject.trim(), category };
  if (tidy(message)) Object.assign(body, { message: tidy(message), clientMessageId });
  try {
    const { data } = await app.api.post("/api/chat", body);
    return data;
  } catch (error) {
    if (error.signedOut) app.session.expire();
    if (error.code !== "chat_open" || !error.problem.chatId) throw error;
    // The answer to an earlier try may have been lost on its way: then the open chat is this one.
    const { data } = await app.api.get(`/api/chat/${error.problem.chatId}`);
    if (data.messages.some((known) => known.clientMessageId === clientMessageId)) return data;
    throw new ApiError(error.status, { ...error.problem, subject: data.subject }, error.retryAfter);
  }
}

/** "There is an open chat": say which, and take the text along when it is opened. */
function alreadyOpen(app, error, message, close) {
  const { chatId, subject } = error.problem;
  const go = () => {
    const text = tidy(message);
    if (text && !app.drafts.get(chatId)) {
      app.drafts.set(chatId, text);
      app.drafts.set(DRAFT, null);
    }
    close();
    app.openChat(chatId);
  };
  return h(
    "div",
    { class: "stack" },
    h("p", {}, "You already have an open chat: ", h("bdi", {}, `“${subject}”`), ". Please go on there; your text comes along."),
    h("button", { type: "button", class: "button", onclick: go }, "Open that chat"),
  );
}
