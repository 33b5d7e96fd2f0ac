/** Answers that are being written: kept for their chat until they are sent. */

import { openTemplate } from "./dialogs.js";
import { agent, byId, required } from "./page.js";
import { local } from "./storage.js";

/** The length of a text is shown from this part of the longest on. */
const SHOWN_FROM = 0.9;

/** @type {(chat: string) => string} */
const draftKey = (chat) => `draft:${agent()}:${chat}`;
const draftKeys = () => local.keys(draftKey(""));

/** @type {(chat: string) => string | null} */
export const draftOf = (chat) => local.get(draftKey(chat));

/** @type {(chat: string) => void} */
export const removeDraft = (chat) => local.remove(draftKey(chat));

/** Put the chat's draft into the empty field, unless the agent is writing in it. */
export function restoreDraft() {
  const text = byId("message");
  if (!text || text.value || document.activeElement === text) return;
  text.value = draftOf(required("composer").dataset.chat ?? "") ?? "";
  showLength(text);
}

/** @param {HTMLTextAreaElement} text */
export function keepDraft(text) {
  const key = draftKey(required("composer").dataset.chat ?? "");
  showLength(text);
  if (text.value) local.set(key, text.value);
  else local.remove(key);
}

/** Show what was typed before the chat was closed. */
export function showKept() {
  const kept = byId("kept");
  const text = kept && draftOf(required("chat").dataset.chat ?? "");
  if (!kept || !text?.trim()) return;
  kept.hidden = false;
  required("kept-text").value = text;
}

/**
 * Ask before signing out deletes what was typed and not sent.
 *
 * @param {SubmitEvent & { target: HTMLFormElement }} event
 */
function confirmLeaving(event) {
  if (!event.target.matches("[data-sign-out]") || event.target.dataset.confirmed) return;
  const count = draftKeys().filter((key) => local.get(key)?.trim()).length;
  if (!count) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  openTemplate("leave");
  const words = document.querySelector("[data-drafts]");
  if (words) words.textContent = count === 1 ? "1 unsent draft" : `${count} unsent drafts`;
  document.querySelector("[data-leave]")?.addEventListener("click", () => {
    event.target.dataset.confirmed = "yes";
    event.target.requestSubmit();
  });
}

/** @param {HTMLTextAreaElement} text */
function showLength(text) {
  const place = /** @type {HTMLElement} */ (text.form?.querySelector("[data-length]"));
  const max = Number(text.dataset.maxLength);
  const length = [...text.value.trim()].length;
  place.hidden = length < max * SHOWN_FROM;
  place.textContent = `${length.toLocaleString()} of ${max.toLocaleString()}`;
  place.classList.toggle("too-long", length > max);
  grow(text);
}

/**
 * Make the field as high as its text, where the browser does not do so by itself.
 *
 * @param {HTMLTextAreaElement} text
 */
function grow(text) {
  if (CSS.supports("field-sizing", "content")) return;
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + 2}px`;
}

export function watchDrafts() {
  document.addEventListener("submit", confirmLeaving, { capture: true });
  // Delete all drafts, so that the next user of this browser does not see them.
  document.addEventListener("submit", (event) => event.target.matches("[data-sign-out]") && draftKeys().forEach((key) => local.remove(key)));
  document.addEventListener("input", (event) => event.target.id === "message" && keepDraft(event.target));
  document.addEventListener("console:morphed", showKept);
}
