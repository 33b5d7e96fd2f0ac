/**
 * Sound and desktop notifications for a user's new message while the tab is hidden. Both are
 * off until the agent switches them on. Of several tabs only one alerts, and none while one is
 * visible. Messages that arrived without a live connection are announced by the number of unread
 * messages, once it has risen.
 */

/** @import { Chat } from "../../web/types/api.d.ts" */

import { live } from "./live.js";
import { afterSwap, byId } from "./page.js";
import { local } from "./storage.js";

const SOUND = "alert-sound";
const DESKTOP = "alert-desktop";
/** Shared by the tabs of a browser: the last message that was alerted of each chat. */
const ALERTED = "alert-told";
/** Shared by them: the number of unread messages up to which all were alerted or seen. */
const ALERTED_TOTAL = "alert-reached";
/** Set for a moment, for a visible tab to say that it shows this number. */
const ASKED = "alert-asked";
const MAX_ALERTED_CHATS = 50;
/** A visible tab takes a message first; then the hidden ones try. */
const HIDDEN_TAB_DELAY = 250;
const PREVIEW = 140;
const TONES = [[660, 0], [880, 0.14]];

/** @typedef {Chat & { lastSeq: number }} AlertedChat */

/** The last message of each chat that an event has reported. @type {Map<string, number>} */
const lastSeqs = new Map();

/** @type {AudioContext | null} */
let audio = null;
/** The number of unread messages in the list, and how many came live since. */
let total = 0;
let liveSince = 0;
/** Whether something may have come that no event has reported. */
let mayHaveMissed = true;
/** @type {ReturnType<typeof setTimeout> | null} */
let missedTimer = null;

/** @type {(key: string) => boolean} */
const isOn = (key) => local.get(key) !== null;

/** What the browser says of notifications; some have none, or throw at the question. */
function permission() {
  try {
    return window.Notification?.permission ?? "denied";
  } catch {
    return "denied";
  }
}

const isWanted = () => isOn(SOUND) || isOn(DESKTOP);

/** Let the switches in the help say what is set. */
export function showSwitches() {
  const boxes = document.querySelectorAll("#dialogs input[data-alert]");
  const isRefused = permission() === "denied";
  for (const box of /** @type {NodeListOf<HTMLInputElement>} */ (boxes)) {
    box.checked = isOn(box.dataset.alert ?? "");
    box.disabled = isRefused && box.dataset.alert === DESKTOP;
  }
  const note = document.querySelector("#dialogs [data-alert-refused]");
  if (note) note.hidden = !isRefused;
}

export function watchAlerts() {
  live.on("event", ({ event, data }) => event === "chat" && onChat(data));
  live.on("down", () => {
    mayHaveMissed = true;
    lastSeqs.clear();
  });
  total = shownTotal() ?? 0;
  setAlertedTotal(total);
  afterSwap((target) => (target.id === "list" || target === document.body) && count());
  window.addEventListener("storage", ({ key, newValue }) => {
    if (key === ASKED && newValue && !document.hidden) setAlertedTotal(Math.max(alertedTotal(), Number(newValue)));
  });
  document.addEventListener("change", (event) => event.target.matches("[data-alert]") && turn(event.target));
  // Browsers play a sound only after the user has clicked or typed.
  for (const name of ["pointerdown", "keydown"]) {
    document.addEventListener(name, () => isOn(SOUND) && !audio && prepare(), { passive: true });
  }
}

/** @param {HTMLInputElement} box */
async function turn(box) {
  const key = box.dataset.alert ?? "";
  if (!box.checked) {
    local.remove(key);
    return;
  }
  if (key === DESKTOP && !(await mayNotify())) {
    box.checked = false;
    showSwitches();
    return;
  }
  local.set(key, "on");
  setAlertedTotal(total + liveSince);
  if (key === SOUND) {
    prepare();
    play();
  }
}

async function mayNotify() {
  try {
    return (await Notification.requestPermission()) === "granted";
  } catch {
    return false;
  }
}

/**
 * Alert if a chat has a new message of its user.
 *
 * @param {AlertedChat} chat
 */
function onChat(chat) {
  const before = lastSeqs.get(chat._id);
  lastSeqs.set(chat._id, chat.lastSeq);
  // Of a chat that no event has reported before, the message is new if nothing came after it.
  const isNew = before === undefined ? chat.lastMessageAt === chat.updatedAt : chat.lastSeq > before;
  if (!isNew || !chat.unreadCount || !["user", "guest"].includes(chat.lastMessage?.senderRole ?? "")) return;
  liveSince += before === undefined ? chat.unreadCount : chat.lastSeq - before;
  setAlertedTotal(Math.max(alertedTotal(), total + liveSince));
  if (!isWanted()) return;
  if (document.hidden) setTimeout(() => claim(chat) && alert(() => notifyOf(chat)), hiddenTabDelay());
  else claim(chat);
}

const hiddenTabDelay = () => HIDDEN_TAB_DELAY * (1 + Math.random());

/**
 * Claim the alert of a message for this tab; false if it is visible, or another tab has it.
 *
 * @param {AlertedChat} chat
 */
function claim({ _id: chat, lastSeq }) {
  const alerted = alertedChats();
  if ((alerted.get(chat) ?? 0) >= lastSeq) return false;
  alerted.delete(chat);
  alerted.set(chat, lastSeq);
  local.set(ALERTED, JSON.stringify([...alerted].slice(-MAX_ALERTED_CHATS)));
  return document.hidden;
}

/** The last message that was alerted of each chat, the latest last. @returns {Map<string, number>} */
function alertedChats() {
  try {
    return new Map(JSON.parse(local.get(ALERTED) ?? ""));
  } catch {
    return new Map();
  }
}

/** The number of unread messages up to which all were alerted, or seen in the title. */
const alertedTotal = () => Number(local.get(ALERTED_TOTAL)) || 0;

/** @type {(number: number) => void} */
const setAlertedTotal = (number) => isWanted() && local.set(ALERTED_TOTAL, number);

/** The number of unread messages in the list; null without a list. */
function shownTotal() {
  const rows = byId("rows");
  return rows && Number(rows.dataset.unread);
}

/** Store the current number. With a live connection its increase was announced already. */
function count() {
  total = shownTotal() ?? total;
  liveSince = 0;
  const missed = mayHaveMissed && isWanted() && total > alertedTotal();
  mayHaveMissed = !live.isLive;
  if (missed && document.hidden) {
    local.set(ASKED, total);
    local.remove(ASKED);
    missedTimer ??= setTimeout(alertMissed, hiddenTabDelay());
  } else if (!missedTimer) {
    setAlertedTotal(total);
  }
}

function alertMissed() {
  missedTimer = null;
  if (total <= alertedTotal()) return;
  setAlertedTotal(total);
  if (document.hidden) alert(notifyOfMissed);
}

/** @param {() => void} notice */
function alert(notice) {
  if (isOn(SOUND)) play();
  if (isOn(DESKTOP)) notice();
}

function prepare() {
  try {
    audio ??= new AudioContext();
    audio.resume();
  } catch {
    // This browser makes no sound.
  }
}

/** Two short tones, made on the spot. */
function play() {
  if (audio?.state === "closed" || !audio) return;
  for (const [pitch, after] of TONES) {
    const start = audio.currentTime + after;
    const tone = new OscillatorNode(audio, { frequency: pitch });
    const loudness = new GainNode(audio, { gain: 0 });
    loudness.gain.setValueAtTime(0, start);
    loudness.gain.linearRampToValueAtTime(0.12, start + 0.015);
    loudness.gain.exponentialRampToValueAtTime(0.0001, start + 0.28);
    tone.connect(loudness).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 0.3);
  }
}

/** @param {AlertedChat} chat */
function notifyOf({ _id: chat, subject, lastMessage }) {
  if (!lastMessage) return;
  const body = lastMessage.content.length > PREVIEW ? `${lastMessage.content.slice(0, PREVIEW)}…` : lastMessage.content;
  notify(`${lastMessage.senderName}: ${subject}`, { body, tag: chat }, () => {
    const link = byId(`open-${chat}`);
    if (link) link.click();
    else location.assign(`/admin/chats/${chat}`);
  });
}

function notifyOfMissed() {
  notify("New messages", { body: `${total} unread`, tag: "unread" });
}

/**
 * Show a notification; a click on it brings the console to the front and does `act`.
 *
 * @param {string} title
 * @param {NotificationOptions} options
 * @param {() => void} act
 */
function notify(title, options, act = () => undefined) {
  let note;
  try {
    note = new Notification(title, options);
  } catch {
    // Some browsers on phones have the name but not the thing.
    return;
  }
  note.onclick = () => {
    window.focus();
    note.close();
    act();
  };
}
