/** What is true for seconds only: who types, who else looks at the open chat, who is online. */

/** @import { Frame } from "../../web/static/live_connection.js" */
/** @import { Chat } from "../../web/types/api.d.ts" */

import { live } from "./live.js";
import { afterSwap, agent, byId, csrf, required } from "./page.js";

/** A typing indicator expires after this time. */
const STOPPED = 6000;
const TYPING = 3000;

/**
 * @typedef {object} Presence
 * @property {string} userId
 * @property {string} name
 * @property {string} role
 * @property {boolean} online
 * @property {string | null} chatId
 */

/** By chat, those who type in it by their id. @type {Map<string, Map<string, { name: string, timer: ReturnType<typeof setTimeout> }>>} */
const typing = new Map();
/** The other agents who are online, by id. @type {Map<string, { name: string, chat: string | null }>} */
const team = new Map();
/** The other agents who look at the open chat: their names by id. @type {Map<string, string>} */
const here = new Map();
/** The time of the last message of each chat with an event. @type {Map<string, string>} */
const latest = new Map();

let typedAt = 0;

export function watchSignals() {
  live.on("event", onMessage);
  live.on("watch", () => {
    here.clear();
    typedAt = 0;
    showTyping();
    showOthers();
  });
  live.on("down", () => {
    // Without a connection the state is unknown.
    for (const people of typing.values()) for (const { timer } of people.values()) clearTimeout(timer);
    typing.clear();
    team.clear();
    here.clear();
    showAll();
  });
  afterSwap(showAll);
  document.addEventListener("input", (event) => {
    if (event.target.id === "message" && event.target.value.trim()) types();
  });
}

/** Tell the user that an answer is being written, now and then. */
function types() {
  const chat = required("composer").dataset.chat;
  const now = Date.now();
  if (now - typedAt < TYPING) return;
  typedAt = now;
  if (live.isLive) {
    live.send({ type: "typing", chatId: chat });
  } else {
    const headers = { "X-CSRF-Token": csrf() };
    fetch(`/api/chat/${chat}/typing`, { method: "POST", headers }).catch(() => undefined);
  }
}

/** @param {Frame} frame */
function onMessage({ event: name, data }) {
  if (name === "typing") {
    if (data.senderId !== agent()) starts(data.chatId, data.senderId, data.senderName);
  } else if (name === "message") {
    stops(data.chatId, data.senderId);
  } else if (name === "chat") {
    onChat(data);
  } else if (name === "presence") {
    if (data.userId !== agent()) place(data);
  }
}

/**
 * Remove the typing indicator of a sender whose message arrived; the inbox has only the name.
 *
 * @param {Chat} chat
 */
function onChat({ _id: chat, lastMessage }) {
  if (!lastMessage || latest.get(chat) === lastMessage.timestamp) return;
  latest.set(chat, lastMessage.timestamp);
  for (const [id, { name }] of typing.get(chat) ?? []) if (name === lastMessage.senderName) stops(chat, id);
}

/**
 * @param {string} chat
 * @param {string} id
 * @param {string} name
 */
function starts(chat, id, name) {
  const people = typing.get(chat) ?? new Map();
  typing.set(chat, people);
  clearTimeout(people.get(id)?.timer);
  people.set(id, { name, timer: setTimeout(() => stops(chat, id), STOPPED) });
  showTyping();
}

/**
 * @param {string} chat
 * @param {string} id
 */
function stops(chat, id) {
  const people = typing.get(chat);
  const person = people?.get(id);
  if (!people || !person) return;
  clearTimeout(person.timer);
  people.delete(id);
  if (!people.size) typing.delete(chat);
  showTyping();
}

/** @param {Presence} presence */
function place({ userId, name, online, chatId, role }) {
  if (online && role === "admin") team.set(userId, { name, chat: chatId });
  else team.delete(userId);
  // Of an agent in several chats the server reports one; leaving this chat is reported separately.
  if (online && chatId && chatId === live.chatId) here.set(userId, name);
  else if (!online || !chatId) here.delete(userId);
  showOthers();
}

function showAll() {
  showTyping();
  showOthers();
}

/**
 * Set a name apart, whichever way it is written.
 *
 * @type {(name: string) => string}
 */
const apart = (name) => `\u2068${name}\u2069`;

/**
 * Write names as people do: "Ana", "Ana and Ben", "Ana, Ben and 3 others".
 *
 * @param {string[]} names
 */
function listed(names) {
  const [first, second, ...more] = names.map(apart);
  if (more.length) return `${first}, ${second} and ${more.length === 1 ? "1 other" : `${more.length} others`}`;
  return second ? `${first} and ${second}` : first;
}

/**
 * @param {Element | null} element
 * @param {string} text
 */
function write(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/**
 * Return a sentence about what one or several users do, or "" without any.
 *
 * @param {string[]} names
 * @param {string} doing
 */
function said(names, doing) {
  return names.length ? `${listed(names)} ${names.length === 1 ? "is" : "are"} ${doing}` : "";
}

/** @param {string | undefined} chat */
function typingIn(chat) {
  const names = [...(typing.get(chat ?? "")?.values() ?? [])].map(({ name }) => name);
  return said(names, "typing…");
}

function showTyping() {
  write(byId("typing"), byId("closed") ? "" : typingIn(byId("chat")?.dataset.chat));
  for (const row of document.querySelectorAll("#rows tbody tr")) {
    const subject = row.querySelector(".subject");
    if (!subject) continue;
    // In a closed chat no message can come of it.
    const text = row.matches(".over") ? "" : typingIn(row.id.slice("chat-".length));
    // An attribute, which CSS shows instead of the preview, because the row is replaced often.
    if (text) subject.dataset.typing = text;
    else if (subject.dataset.typing) delete subject.dataset.typing;
  }
}

function showOthers() {
  write(byId("viewers"), said([...here.values()], "looking at this chat too"));
  showTeam();
  /** @type {NodeListOf<HTMLOptionElement>} */
  const agents = document.querySelectorAll("#set-adminId option");
  for (const option of agents) {
    const label = team.has(option.value) ? `${option.text} · online` : null;
    if (label) option.label = label;
    else if (option.hasAttribute("label")) option.removeAttribute("label");
  }
  /** @type {NodeListOf<HTMLButtonElement>} */
  const buttons = document.querySelectorAll("#bulk button[name=adminId]");
  for (const button of buttons) {
    button.classList.toggle("is-online", team.has(button.value));
  }
}

function showTeam() {
  const menu = required("team");
  menu.hidden = team.size === 0;
  write(byId("team-count"), String(team.size));
  const people = [...team.values()].sort((one, other) => one.name.localeCompare(other.name));
  required("team-list").replaceChildren(...people.map(shown));
}

/** @param {{ name: string, chat: string | null }} agent */
function shown({ name, chat }) {
  const item = document.createElement("li");
  const who = document.createElement("span");
  who.className = "name";
  who.dir = "auto";
  who.textContent = name;
  item.append(who);
  if (chat) {
    const link = document.createElement("a");
    link.href = `/admin/chats/${chat}`;
    link.dir = "auto";
    link.textContent = byId(`open-${chat}`)?.textContent ?? "A chat";
    item.append(link);
  }
  return item;
}
