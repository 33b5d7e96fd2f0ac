/** The open conversation: where it is scrolled to, what is read, and the answer being written. */

import { openTemplate } from "./dialogs.js";
import { live } from "./live.js";
import { showChoices } from "./morph.js";
import { closeChat } from "./navigation.js";
import { afterSwap, agent, announce, byId } from "./page.js";
import { dropNewLine, markRead } from "./reading.js";
import { refresh } from "./refresh.js";
import { leaveRow } from "./rows.js";
import { local } from "./storage.js";
import { toast } from "./toasts.js";

const MOST = 5000;
const NEAR = 48;

let before = null;
let waiting = 0;
let sent = "";

const touch = matchMedia("(hover: none) and (pointer: coarse)");
const narrow = matchMedia("(width < 900px)");

function look() {
  const chat = byId("chat");
  const history = byId("history");
  if (!chat) return null;
  return {
    chat: chat.dataset.chat,
    last: Number(chat.dataset.last),
    height: history.scrollHeight,
    // Upside down: the newest message is at 0.
    assignee: chat.dataset.assignee,
    atEnd: Math.abs(history.scrollTop) < NEAR,
  };
}

/** Put everything right after the conversation has changed; tell whether it is another. */
function settle() {
  const now = look();
  if (!now) {
    before = null;
    return false;
  }
  restoreDraft();
  showKept();
  showSeen();
  const other = before?.chat !== now.chat;
  if (!other && !before.isOurs && before.assignee !== now.assignee && byId("message")?.value) {
    toast(`${now.assignee ? `This chat is now assigned to ${now.assignee}` : "This chat is now unassigned"}. Your text is kept.`);
  }
  if (other) opened();
  else if (now.last > before.last) received(now);
  before = null;
  markRead();
  dropNewLine();
  return other;
}

function opened() {
  waiting = 0;
  showJump();
  announce(`${byId("chat").dataset.subject} is open.`);
  if (narrow.matches) byId("history").focus({ preventScroll: true });
}

function received(now) {
  const history = byId("history");
  const fresh = [...document.querySelectorAll("#messages .message")].filter(
    (message) => Number(message.dataset.seq) > before.last,
  );
  const theirs = fresh.filter((message) => message.classList.contains("theirs"));
  for (const message of theirs) {
    announce(`${message.querySelector(".sender, .visually-hidden").textContent}: ${message.querySelector(".text").textContent}`);
  }
  if (before.atEnd || theirs.length < fresh.length) {
    history.scrollTop = 0;
    return;
  }
  history.scrollTop -= now.height - before.height;
  waiting += theirs.length;
  showJump();
}

function showJump() {
  const button = byId("jump");
  if (!button) return;
  button.hidden = waiting === 0;
  button.firstElementChild.textContent = waiting === 1 ? "1 new message" : `${waiting} new messages`;
}

const draftKey = (chat) => `draft:${agent()}:${chat}`;

function restoreDraft() {
  const text = byId("message");
  if (!text || text.value || document.activeElement === text) return;
  text.value = local.get(draftKey(byId("composer").dataset.chat)) ?? "";
  showLength(text);
}

function keepDraft(text) {
  const key = draftKey(text.form.dataset.chat);
  showLength(text);
  if (text.value) local.set(key, text.value);
  else local.remove(key);
}

/** Show what was typed before the chat was closed. */
function showKept() {
  const kept = byId("kept");
  const text = kept && local.get(draftKey(byId("chat").dataset.chat));
  if (!text?.trim()) return;
  kept.hidden = false;
  byId("kept-text").value = text;
}

/** Hide a chat that was deleted; what was typed in it stays on the screen. */
function chatDeleted(chat) {
  const text = local.get(draftKey(chat));
  local.remove(draftKey(chat));
  closeChat();
  toast("This chat was deleted.", "problem");
  if (!text?.trim()) return;
  byId("conversation").replaceChildren(byId("deleted").content.cloneNode(true));
  byId("kept-text").value = text;
  byId("kept-text").focus();
}

/** Ask before signing out deletes what was typed and not sent. */
function confirmLeaving(event) {
  if (!event.target.matches("[data-sign-out]") || event.target.dataset.confirmed) return;
  const count = local.keys(draftKey("")).filter((key) => local.get(key)?.trim()).length;
  if (!count) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  openTemplate("leave");
  document.querySelector("[data-drafts]").textContent = count === 1 ? "1 unsent draft" : `${count} unsent drafts`;
  document.querySelector("[data-leave]").addEventListener("click", () => {
    event.target.dataset.confirmed = "yes";
    event.target.requestSubmit();
  });
}

/** Delete all drafts, so that the next user of this browser does not see them. */
function forgetDrafts() {
  for (const key of local.keys(draftKey(""))) local.remove(key);
}

function showLength(text) {
  const place = text.form.querySelector("[data-length]");
  const length = [...text.value.trim()].length;
  place.hidden = length < MOST * 0.9;
  place.textContent = `${length.toLocaleString()} of ${MOST.toLocaleString()}`;
  place.classList.toggle("too-long", length > MOST);
  grow(text);
}

/** Make the field as high as its text, where the browser does not do so by itself. */
function grow(text) {
  if (CSS.supports("field-sizing", "content")) return;
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + 2}px`;
}

function newMessageId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The message is in the history: take it out of the field, but nothing typed since. */
function accepted(form) {
  const text = form.querySelector("textarea");
  text.value = text.value.startsWith(sent) ? text.value.slice(sent.length).trimStart() : text.value;
  form.querySelector("[name=clientMessageId]").value = newMessageId();
  form.querySelector("#composer-error").replaceChildren();
  text.removeAttribute("aria-invalid");
  keepDraft(text);
}

/** Mark as seen what the user has read in older parts, which nothing fetches again. */
function showSeen() {
  const seen = Number(byId("chat").dataset.seen);
  for (const mark of document.querySelectorAll(".older .mark:not(.seen)")) {
    if (Number(mark.closest(".message").dataset.seq) <= seen) mark.replaceWith(byId("seen-mark").content.cloneNode(true));
  }
}

/** Show that a message is deleted, if it is in an older part, which nothing fetches again. */
function redact(seq) {
  const message = byId(`m-${seq}`);
  if (!message?.closest(".older") || message.matches(".gone")) return;
  message.classList.add("gone");
  message.querySelector(".text").textContent = "This message was deleted.";
  message.querySelector(".delete-message").remove();
}

export function watchConversation() {
  document.addEventListener("htmx:before:swap", ({ detail: { ctx } }) => {
    const now = look();
    before = now && { ...now, isOurs: ctx.sourceElement?.id !== "conversation" };
  });
  document.addEventListener("console:morphed", showKept);
  for (const name of ["console:morphed", "visibilitychange", "pointerdown", "keydown"]) document.addEventListener(name, dropNewLine);
  window.addEventListener("focus", dropNewLine);
  document.addEventListener("console:deleted", ({ detail }) => chatDeleted(detail.chat));
  document.addEventListener("submit", confirmLeaving, { capture: true });
  afterSwap((target) => {
    if (target.id === "conversation" || target === document.body) {
      showChoices(target);
      // Opening it has marked it read: the list should say so at once.
      if (settle() && target !== document.body) refresh({ atOnce: true });
    } else {
      before = null;
    }
    if (target.id === "composer-error" && target.textContent.trim()) byId("message")?.setAttribute("aria-invalid", "true");
  });
  document.addEventListener("scroll", (event) => {
    if (event.target.id !== "history" || !waiting || Math.abs(event.target.scrollTop) >= NEAR) return;
    waiting = 0;
    showJump();
  }, { capture: true, passive: true });
  document.addEventListener("visibilitychange", () => markRead());
  document.addEventListener("click", (event) => {
    if (event.target.closest("#jump")) byId("history").scrollTo({ top: 0, behavior: "smooth" });
  });

  document.addEventListener("submit", (event) => event.target.matches("[data-sign-out]") && forgetDrafts());
  document.addEventListener("input", (event) => event.target.id === "message" && keepDraft(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "message" || event.key !== "Enter" || event.shiftKey) return;
    // Enter that ends a word in an input method is no Enter.
    if (event.isComposing || event.keyCode === 229 || touch.matches) return;
    event.preventDefault();
    const form = event.target.form;
    if (event.target.value.trim() && !form.matches(".htmx-request")) form.requestSubmit(form.querySelector("[data-send]"));
  });
  document.addEventListener("htmx:before:request", (event) => {
    const { sourceElement } = event.detail.ctx;
    if (sourceElement.id === "composer") sent = sourceElement.querySelector("textarea").value;
  });
  document.addEventListener("htmx:after:request", (event) => {
    const { sourceElement, request, response } = event.detail.ctx;
    if (sourceElement.id !== "composer" || response.status >= 300) return;
    accepted(sourceElement);
    if (request.body.get("status") === "closed") leaveRow();
  });
  document.addEventListener("console:redacted", (event) => redact(event.detail.seq));
  live.on("event", ({ event, data: { chatId, seq } }) => {
    if (event === "deleted" && seq && chatId === byId("chat")?.dataset.chat) redact(seq);
  });
  document.addEventListener("htmx:response:error", (event) => {
    const { sourceElement } = event.detail.ctx;
    if (sourceElement.matches("form.choice")) sourceElement.reset();
  });
  document.addEventListener("htmx:error", (event) => {
    if (event.detail.ctx?.response) return;
    const form = event.detail.ctx?.sourceElement;
    if (form?.matches("form.choice")) form.reset();
    const kept = form?.id === "composer" ? " Your text is still here." : "";
    toast(`No connection: nothing was changed.${kept}`, "problem");
  });
  settle();
}
