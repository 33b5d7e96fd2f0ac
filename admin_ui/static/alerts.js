/**
 * Sound and desktop notifications for a user's new message while the tab is hidden. Both are
 * off until the agent switches them on. Of several tabs only one alerts, and none while one is
 * visible. Messages that arrived without a live connection are announced by the number of unread
 * messages, once it has risen.
 */

import { live } from "./live.js";
import { afterSwap, byId } from "./page.js";
import { local } from "./storage.js";

const SOUND = "alert-sound";
const DESKTOP = "alert-desktop";
/** Shared by the tabs of a browser: up to which message each chat was announced, and the last total. */
const TOLD = "alert-told";
const REACHED = "alert-reached";
/** Set for a moment, for the tab that is looked at to answer. */
const ASKED = "alert-asked";
const MAX_TOLD = 50;
/** A tab that is looked at says first that it has seen a message; then the hidden ones try. */
const AFTER_YOU = 250;
const PREVIEW = 140;
const TONES = [[660, 0], [880, 0.14]];

/** The last known seq of each chat with an event. */
const known = new Map();

let audio = null;
/** The number of unread messages that the list tells, and how many came live since. */
let total = 0;
let ahead = 0;
/** Messages may have arrived without an event. */
let behind = true;
let telling = null;

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
  for (const key of [SOUND, DESKTOP]) document.querySelector(`#dialogs [data-alert="${key}"]`).checked = isOn(key);
  const refused = permission() === "denied";
  const desktop = document.querySelector(`#dialogs [data-alert="${DESKTOP}"]`);
  desktop.disabled = refused;
  document.querySelector("#dialogs [data-alert-refused]").hidden = !refused;
}

export function watchAlerts() {
  live.on("event", ({ event, data }) => event === "chat" && heard(data));
  live.on("down", () => {
    behind = true;
    known.clear();
  });
  total = shown() ?? 0;
  setReached(total);
  afterSwap((target) => (target.id === "list" || target === document.body) && count());
  window.addEventListener("storage", ({ key, newValue }) => {
    if (key === ASKED && newValue && !document.hidden) setReached(Math.max(reached(), Number(newValue)));
  });
  document.addEventListener("change", (event) => event.target.matches("[data-alert]") && turn(event.target));
  // Browsers play a sound only after the user has clicked or typed.
  for (const name of ["pointerdown", "keydown"]) {
    document.addEventListener(name, () => isOn(SOUND) && !audio && prepare(), { passive: true });
  }
}

async function turn(box) {
  const key = box.dataset.alert;
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
  setReached(total + ahead);
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

/** Take a chat as it is now; tell whether it has a message of its user that is new. */
function heard(chat) {
  const before = known.get(chat._id);
  known.set(chat._id, chat.lastSeq);
  // If the chat had no event before, the message is new if nothing came after it.
  const isNew = before === undefined ? chat.lastMessageAt === chat.updatedAt : chat.lastSeq > before;
  if (!isNew || !chat.unreadCount || !["user", "guest"].includes(chat.lastMessage?.senderRole)) return;
  ahead += before === undefined ? chat.unreadCount : chat.lastSeq - before;
  setReached(Math.max(reached(), total + ahead));
  if (!isWanted()) return;
  if (document.hidden) setTimeout(() => claim(chat) && alert(() => notifyOf(chat)), afterYou());
  else claim(chat);
}

const afterYou = () => AFTER_YOU * (1 + Math.random());

/** Take it on to tell of a message; false if another tab has. */
function claim({ _id: chat, lastSeq }) {
  const told = toldOf();
  if (told.get(chat) >= lastSeq) return false;
  told.delete(chat);
  told.set(chat, lastSeq);
  local.set(TOLD, JSON.stringify([...told].slice(-MAX_TOLD)));
  return document.hidden;
}

/** Up to which message each chat was announced, the latest last. */
function toldOf() {
  try {
    return new Map(JSON.parse(local.get(TOLD)));
  } catch {
    return new Map();
  }
}

/** The number of unread messages that was announced last, or shown in the title. */
const reached = () => Number(local.get(REACHED)) || 0;

const setReached = (number) => isWanted() && local.set(REACHED, number);

/** The number of unread messages that the list tells; none without a list. */
function shown() {
  const rows = byId("rows");
  return rows && Number(rows.dataset.unread);
}

/** Store the current number. With a live connection its increase was announced already. */
function count() {
  total = shown() ?? total;
  ahead = 0;
  const missed = behind && isWanted() && total > reached();
  behind = !live.isLive;
  if (missed && document.hidden) {
    local.set(ASKED, total);
    local.remove(ASKED);
    telling ??= setTimeout(tellMissed, afterYou());
  } else if (!telling) {
    setReached(total);
  }
}

function tellMissed() {
  telling = null;
  if (total <= reached()) return;
  setReached(total);
  if (document.hidden) alert(notifyOfMissed);
}

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

function notifyOf({ _id: chat, subject, lastMessage }) {
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

/** Show a notification; a click on it brings the console to the front and does `act`. */
function notify(title, options, act) {
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
    act?.();
  };
}
