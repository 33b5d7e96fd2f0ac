/** The dialog that starts a chat; what is typed in it survives a reload. */

/** @import { Chat, ChatWithMessages, Message } from "../../../web/types/api.d.ts" */
/** @import { ApiError } from "../api.js" */
/** @import { App, NewChatDraft } from "../../../web/types/chat.d.ts" */

import { newId } from "../../../web/static/ids.js";
import { activeElement, h, isBusy } from "../dom.js";
import { NEW_CHAT } from "../drafts.js";
import { isOpen } from "../store.js";
import { capital, subjectOf, tidy } from "../text.js";
import { openDialog } from "./dialog.js";
import { Field, form } from "./field.js";

/**
 * Open the dialog; `message` fills in the first message.
 *
 * @param {App} app
 * @param {{ message?: string }} [options]
 */
export function newChat(app, { message } = {}) {
  /** @type {NewChatDraft} */
  const draft = app.drafts.get(NEW_CHAT) || { clientMessageId: newId() };
  if (message) draft.message = message;

  const text = new Field({ name: "message", label: "Your message", control: "textarea", rows: 5, limit: () => app.config.limits.message, dir: "auto", value: draft.message ?? "", placeholder: "Tell us what happened, as exactly as you can." });
  const category = new Field({ name: "category", label: "Category", control: "select" });
  app.configLoaded.then(({ categories }) => {
    category.offer(categories.map((name) => [name, capital(name)]));
    category.value = categories.find((name) => name === draft.category) ?? categories[0];
  });
  const subject = new Field({ name: "subject", label: "Subject", limit: () => app.config.limits.subject, dir: "auto", autocomplete: "off", optional: true, value: draft.subject ?? "" });

  const keep = () => {
    Object.assign(draft, { subject: subject.value, category: category.value, message: text.value });
    app.drafts.set(NEW_CHAT, draft.subject || draft.message ? draft : null);
  };
  for (const field of [text, category, subject]) field.control.addEventListener("input", keep);

  const { element, button } = form({
    fields: [text, category, subject],
    label: "New chat",
    action: "Start chat",
    submit: async (values) => {
      keep();
      let chat;
      try {
        chat = await createChat(app, values, draft.clientMessageId);
      } catch (caught) {
        const error = /** @type {ApiError & { chat?: ChatWithMessages }} */ (caught);
        if (error.signedOut) app.session.expire();
        if (!error.chat) throw error;
        app.store.applyChat(error.chat);
        renderNotice();
        return;
      }
      app.drafts.set(NEW_CHAT, null);
      dialog.close();
      app.store.applyChat(chat);
      app.toasts.show("Your chat has started.");
      app.openChat(chat._id);
    },
  });

  // There can be one open chat: while there is, its place is taken by the way to it.
  const notice = h("div", { class: "stack", hidden: true });
  const renderNotice = () => {
    const open = app.store.chats.find(isOpen);
    const hadFocus = element.contains(activeElement(element));
    element.hidden = Boolean(open);
    notice.hidden = !open;
    if (!open) return;
    notice.replaceChildren(...alreadyOpen(open, tidy(text.value), go));
    if (hadFocus) notice.querySelector("button")?.focus();
  };
  const go = (/** @type {string} */ chatId) => {
    const unsent = tidy(text.value);
    dialog.close();
    app.openChat(chatId);
    if (!unsent) return;
    app.conversation.composer.insert(unsent);
    app.drafts.set(NEW_CHAT, null);
  };
  const unsubscribe = app.store.on("chats", () => {
    if (!isBusy(button)) renderNotice();
  });
  renderNotice();
  const dialog = openDialog(app, {
    title: "New chat",
    content: h("div", {}, notice, element),
    focus: () => (element.hidden ? notice.querySelector("button") : text.control),
    onclose: unsubscribe,
  });
}

/**
 * Create a chat with its first message and return it; a repeated call with the same
 * `clientMessageId` returns the same chat. Without a subject, the message makes it.
 *
 * Throws what the API throws; the error has the open chat as `chat` when there is one already.
 *
 * @param {App} app
 * @param {{ message: string, category?: string, subject?: string }} values
 * @param {string} clientMessageId
 * @returns {Promise<ChatWithMessages>}
 */
export async function createChat(app, { message, category, subject = "" }, clientMessageId) {
  const content = tidy(message);
  const { limits } = await app.configLoaded;
  /** @type {Record<string, string>} */
  const body = { message: content, subject: subject.trim() || subjectOf(content, limits.subject), clientMessageId };
  if (category) body.category = category;
  try {
    const { data } = await app.api.post("/api/chat", body);
    return data;
  } catch (caught) {
    const error = /** @type {ApiError} */ (caught);
    if (error.code !== "chat_open" || !error.problem.chatId) throw error;
    // The answer to an earlier try may have been lost on its way: then the open chat is this one.
    const { data } = await app.api.get(`/api/chat/${error.problem.chatId}`);
    if (data.messages.some((/** @type {Message} */ known) => known.clientMessageId === clientMessageId)) return data;
    throw Object.assign(error, { chat: data });
  }
}

/**
 * "There is an open chat": say which, and take the text along when it is opened.
 *
 * @param {Chat} chat
 * @param {string} unsent
 * @param {(chatId: string) => void} go
 */
function alreadyOpen({ _id, subject }, unsent, go) {
  return [
    h("p", { id: "chat-already-open" }, "Your chat ", h("bdi", {}, `“${subject}”`), ` is still open. Please go on there${unsent ? "; your text comes along" : ""}.`),
    h("button", { type: "button", class: "button primary", "aria-describedby": "chat-already-open", onclick: () => go(_id) }, "Open that chat"),
  ];
}
