/** The open conversation: where it is scrolled to, what is new in it, and what is gone. */

import { draftOf, removeDraft, restoreDraft, showKept } from "./drafts.js";
import { live } from "./live.js";
import { showChoices } from "./morph.js";
import { closeChat } from "./navigation.js";
import { afterSwap, announce, byId, required } from "./page.js";
import { dropNewLine, markRead } from "./reading.js";
import { refresh } from "./refresh.js";
import { toast } from "./toasts.js";

/** Within so many pixels of its end a conversation counts as read to the end. */
const NEAR = 48;

/** The conversation before it changes. @type {(Snapshot & { isOurs: boolean }) | null} */
let before = null;
/** How many new messages are below what is on the screen. */
let newBelow = 0;

const narrow = matchMedia("(width < 900px)");

/**
 * @typedef {object} Snapshot
 * @property {string | undefined} chat
 * @property {number} last the number of its newest message
 * @property {number} height
 * @property {string | undefined} assignee
 * @property {boolean} atEnd
 */

/** @returns {Snapshot | null} */
function snapshot() {
  const chat = byId("chat");
  if (!chat) return null;
  const history = required("history");
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
function follow() {
  const now = snapshot();
  if (!now) {
    before = null;
    return false;
  }
  restoreDraft();
  showKept();
  showSeen();
  const other = before?.chat !== now.chat;
  if (before && !other && !before.isOurs && before.assignee !== now.assignee && byId("message")?.value) {
    toast(`${now.assignee ? `This chat is now assigned to ${now.assignee}` : "This chat is now unassigned"}. Your text is kept.`);
  }
  if (other) opened();
  else if (before && now.last > before.last) received(now, before);
  before = null;
  markRead();
  dropNewLine();
  return other;
}

function opened() {
  newBelow = 0;
  showJump();
  announce(`${required("chat").dataset.subject} is open.`);
  if (narrow.matches) required("history").focus({ preventScroll: true });
}

/** @param {Snapshot} now @param {Snapshot} was */
function received(now, was) {
  const history = required("history");
  const fresh = [...document.querySelectorAll("#messages .message")].filter(
    (message) => Number(message.dataset.seq) > was.last,
  );
  const theirs = fresh.filter((message) => message.classList.contains("theirs"));
  for (const message of theirs) {
    announce(`${message.querySelector(".sender, .visually-hidden")?.textContent}: ${message.querySelector(".text")?.textContent}`);
  }
  if (was.atEnd || theirs.length < fresh.length) {
    history.scrollTop = 0;
    return;
  }
  history.scrollTop -= now.height - was.height;
  newBelow += theirs.length;
  showJump();
}

function showJump() {
  const button = byId("jump");
  if (!button) return;
  button.hidden = newBelow === 0;
  const words = /** @type {Element} */ (button.firstElementChild);
  words.textContent = newBelow === 1 ? "1 new message" : `${newBelow} new messages`;
}

/**
 * Hide a chat that was deleted; what was typed in it stays on the screen.
 *
 * @param {string} chat
 */
function chatDeleted(chat) {
  const text = draftOf(chat);
  removeDraft(chat);
  closeChat();
  toast("This chat was deleted.", "problem");
  if (!text?.trim()) return;
  required("conversation").replaceChildren(required("deleted").content.cloneNode(true));
  required("kept-text").value = text;
  required("kept-text").focus();
}

/** Mark as seen what the user has read in older parts, which nothing fetches again. */
function showSeen() {
  const seen = Number(required("chat").dataset.seen);
  for (const mark of document.querySelectorAll(".older .mark:not(.seen)")) {
    if (Number(/** @type {HTMLElement} */ (mark.closest(".message")).dataset.seq) <= seen) mark.replaceWith(required("seen-mark").content.cloneNode(true));
  }
}

/**
 * Show that a message is deleted, if it is in an older part, which nothing fetches again.
 *
 * @param {number} seq
 */
function redact(seq) {
  const message = byId(`m-${seq}`);
  if (!message?.closest(".older") || message.matches(".gone")) return;
  message.classList.add("gone");
  const text = message.querySelector(".text");
  if (text) text.textContent = required("chat").dataset.tombstone ?? "";
  message.querySelector(".delete-message")?.remove();
}

/** Show what is so after a choice that could not be applied. @param {HTMLElement} form */
function resetChoice(form) {
  if (form instanceof HTMLFormElement && form.matches(".choice")) form.reset();
}

export function watchConversation() {
  document.addEventListener("htmx:before:swap", ({ detail: { ctx } }) => {
    const now = snapshot();
    before = now && { ...now, isOurs: ctx.sourceElement?.id !== "conversation" };
  });
  for (const name of ["console:morphed", "visibilitychange", "pointerdown", "keydown"]) document.addEventListener(name, dropNewLine);
  window.addEventListener("focus", dropNewLine);
  document.addEventListener("console:deleted", ({ detail }) => chatDeleted(detail.chat));
  afterSwap((target) => {
    if (target.id === "conversation" || target === document.body) {
      showChoices(target);
      // Opening it has marked it read: the list should say so at once.
      if (follow() && target !== document.body) refresh({ atOnce: true });
    } else {
      before = null;
    }
  });
  document.addEventListener("scroll", (event) => {
    if (event.target.id !== "history" || !newBelow || Math.abs(event.target.scrollTop) >= NEAR) return;
    newBelow = 0;
    showJump();
  }, { capture: true, passive: true });
  document.addEventListener("visibilitychange", () => markRead());
  document.addEventListener("click", (event) => {
    if (event.target.closest("#jump")) required("history").scrollTo({ top: 0, behavior: "smooth" });
  });

  document.addEventListener("console:redacted", (event) => redact(event.detail.seq));
  live.on("event", ({ event, data: { chatId, seq } }) => {
    if (event === "deleted" && seq && chatId === byId("chat")?.dataset.chat) redact(seq);
  });
  document.addEventListener("htmx:response:error", (event) => {
    resetChoice(event.detail.ctx.sourceElement);
  });
  document.addEventListener("htmx:error", (event) => {
    if (event.detail.ctx?.response) return;
    const form = event.detail.ctx?.sourceElement;
    if (form) resetChoice(form);
    const kept = form?.id === "composer" ? " Your text is still here." : "";
    toast(`No connection: nothing was changed.${kept}`, "problem");
  });
  follow();
}
