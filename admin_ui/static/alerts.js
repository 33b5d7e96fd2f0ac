/**
 * Sound and desktop notifications for a user's new message while the tab is hidden. Both are
 * off until somebody switches them on; of several tabs one speaks, and none while one is
 * looked at.
 */

import { on } from "./live.js";
import { byId } from "./page.js";

const SOUND = "alert-sound";
const DESKTOP = "alert-desktop";
const TOLD = "alert-told";
/** A tab that is looked at says first that it has seen a message; then the hidden ones try. */
const AFTER_YOU = 250;
const PREVIEW = 140;
const TONES = [[660, 0], [880, 0.14]];

/** How far each chat that was heard of has come. */
const known = new Map();

let audio = null;

const isOn = (key) => localStorage.getItem(key) !== null;

/** Let the switches in the help say what is set. */
export function showSwitches() {
  for (const key of [SOUND, DESKTOP]) document.querySelector(`#dialogs [data-alert="${key}"]`).checked = isOn(key);
  const refused = window.Notification === undefined || Notification.permission === "denied";
  const desktop = document.querySelector(`#dialogs [data-alert="${DESKTOP}"]`);
  desktop.disabled = refused;
  document.querySelector("#dialogs [data-alert-refused]").hidden = !refused;
}

export function watchAlerts() {
  on("event", (name, data) => name === "chat" && heard(data));
  document.addEventListener("change", (event) => event.target.matches("[data-alert]") && turn(event.target));
  // A sound may only be made where somebody has clicked or typed before.
  for (const name of ["pointerdown", "keydown"]) {
    document.addEventListener(name, () => isOn(SOUND) && !audio && prepare(), { passive: true });
  }
}

async function turn(box) {
  const key = box.dataset.alert;
  if (!box.checked) {
    localStorage.removeItem(key);
    return;
  }
  if (key === DESKTOP && (await Notification.requestPermission()) !== "granted") {
    box.checked = false;
    showSwitches();
    return;
  }
  localStorage.setItem(key, "on");
  if (key === SOUND) {
    prepare();
    play();
  }
}

/** Take a chat as it is now; tell whether it has a message of its user that is new. */
function heard(chat) {
  const before = known.get(chat._id);
  known.set(chat._id, chat.lastSeq);
  // Of a chat that was not heard of before, the message is new if nothing came after it.
  const isNew = before === undefined ? chat.lastMessageAt === chat.updatedAt : chat.lastSeq > before;
  if (!isNew || !chat.unreadCount || !["user", "guest"].includes(chat.lastMessage?.senderRole)) return;
  if (!isOn(SOUND) && !isOn(DESKTOP)) return;
  if (document.hidden) setTimeout(() => claim(chat) && alert(chat), AFTER_YOU * (1 + Math.random()));
  else claim(chat);
}

/** Take it on to tell of a message; false if another tab has. */
function claim({ _id: chat, lastSeq }) {
  const told = `${chat}:${lastSeq}`;
  if (localStorage.getItem(TOLD) === told) return false;
  localStorage.setItem(TOLD, told);
  return document.hidden;
}

function alert(chat) {
  if (isOn(SOUND)) play();
  if (isOn(DESKTOP)) notify(chat);
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

function notify({ _id: chat, subject, lastMessage }) {
  const body = lastMessage.content.length > PREVIEW ? `${lastMessage.content.slice(0, PREVIEW)}…` : lastMessage.content;
  let note;
  try {
    note = new Notification(`${lastMessage.senderName}: ${subject}`, { body, tag: chat });
  } catch {
    // Some browsers on phones have the name but not the thing.
    return;
  }
  note.onclick = () => {
    window.focus();
    note.close();
    const link = byId(`open-${chat}`);
    if (link) link.click();
    else location.assign(`/admin/chats/${chat}`);
  };
}
