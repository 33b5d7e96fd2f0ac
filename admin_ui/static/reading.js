/** Notes that what is on the screen has been read. */

import { byId, post } from "./page.js";

let last = Promise.resolve();

/** Tell the server that the open chat is read as far as it is shown, unless nobody looks. */
export function markRead() {
  const chat = byId("chat");
  if (!chat || document.hidden || Number(chat.dataset.read) >= Number(chat.dataset.last)) return;
  last = note(chat);
}

/** Wait until what has been read is noted. */
export const reading = () => last;

async function note(chat) {
  const was = chat.dataset.read;
  chat.dataset.read = chat.dataset.last;
  try {
    const response = await post(`/admin/chats/${chat.dataset.chat}/read`, { seq: chat.dataset.last });
    if (!response.ok) throw new Error(response.statusText);
    document.dispatchEvent(new CustomEvent("console:read"));
  } catch {
    chat.dataset.read = was;
  }
}
