/** Notes that what is on the screen has been read, and takes the line "New" away later. */

import { byId, post } from "./page.js";

/** So long the line before the new messages stays in any case. */
const LINE_STAYS = 60_000;

let line = { place: "", since: 0 };
let last = Promise.resolve();

/** Mark the visible messages of the open chat as read, if the page is visible. */
export function markRead() {
  const chat = byId("chat");
  if (!chat || document.hidden || Number(chat.dataset.read) >= Number(chat.dataset.last)) return;
  last = note(chat);
}

/** Wait until what has been read is noted. */
export const reading = () => last;

/** @param {HTMLElement} chat */
async function note(chat) {
  const was = chat.dataset.read;
  chat.dataset.read = chat.dataset.last;
  try {
    const response = await post(`/admin/chats/${chat.dataset.chat}/read`, { seq: chat.dataset.last ?? "" });
    if (!response.ok) throw new Error(response.statusText);
    document.dispatchEvent(new CustomEvent("console:read"));
  } catch {
    chat.dataset.read = was;
  }
}

/**
 * Take the line away that stands before what was new when the chat was opened, once it has
 * been there for a minute. It goes when the agent does something or comes back, or with the
 * next message: nothing moves on a page that is only looked at.
 */
export function dropNewLine() {
  const chat = byId("chat");
  const mark = byId("new-line");
  const place = chat && mark ? `${chat.dataset.chat} ${mark.nextElementSibling?.id}` : "";
  if (place !== line.place) line = { place, since: Date.now() };
  if (!chat || !place || document.hidden || Date.now() - line.since < LINE_STAYS) return;
  chat.dataset.poll = chat.dataset.poll?.replace(/\bnew=\d+/, "new=0");
  line = { place: "", since: 0 };
  document.dispatchEvent(new CustomEvent("console:changed"));
}
