/** One message: from whom, what, when, and whether it has arrived. */

/** @import { Message } from "../../../web/types/api.d.ts" */
/** @import { Actions, App, Item, Row } from "../../../web/types/chat.d.ts" */
/** @import { Entry } from "../outbox.js" */

import { encode } from "../../../web/static/json.js";
import { h, spoken } from "../dom.js";
import { icon } from "../icons.js";
import { isOwn } from "../store.js";
import { linked } from "../text.js";
import { clock, dayName, timeElement } from "../time.js";
import { avatar } from "./avatar.js";

const GROUPING_PERIOD = 5 * 60_000;

/** What the writer is shown of a message that goes its way: symbol and text. */
const RECEIPTS = {
  sending: /** @type {const} */ (["clock", "Sending…"]),
  sent: /** @type {const} */ (["check", "Sent"]),
  read: /** @type {const} */ (["checks", "Read"]),
};

/**
 * @typedef {object} RowsOptions
 * @property {Message[]} messages
 * @property {Entry[]} pending
 * @property {number | null} unreadFrom
 * @property {(iso: string) => string} dayKey
 * @property {App} app
 * @property {(seq: number) => number} page
 * @property {Actions} actions
 */

/**
 * The rows of a conversation: messages, unconfirmed messages, and what stands between.
 *
 * Each row is {key, page, signature, render}. A row whose signature is unchanged need not
 * be rendered again; a message keeps its key when it is confirmed.
 *
 * @param {RowsOptions} options
 * @returns {Row[]}
 */
export function rows({ messages, pending, unreadFrom, dayKey, app, page, actions }) {
  const lastMine = messages.findLast(isOwn)?.seq;
  const readTo = messages.findLast((message) => isOwn(message) && message.isRead)?.seq ?? 0;

  /** @type {Item[]} */
  const items = messages.map((message) => ({
    key: message.clientMessageId && isOwn(message) ? `id:${message.clientMessageId}` : `seq:${message.seq}`,
    page: page(message.seq),
    seq: message.seq,
    mine: isOwn(message),
    system: message.senderRole === "system",
    agent: message.senderRole === "admin",
    sender: message.senderId ?? message.senderRole,
    name: message.senderName,
    image: message.senderImage,
    content: message.content,
    deleted: Boolean(message.deletedAt),
    time: message.timestamp,
    state: message.seq <= readTo ? "read" : "sent",
    receipt: message.seq === lastMine && pending.length === 0,
  }));
  // A message is only sent after those before it: while one waits, the others wait as well.
  let held = false;
  for (const entry of pending) {
    held ||= entry.state === "waiting";
    items.push({
      key: `id:${entry.clientMessageId}`,
      page: "pending",
      mine: true,
      sender: app.session.user?._id,
      name: app.session.user?.name,
      content: entry.content,
      time: entry.createdAt,
      state: held && entry.state === "sending" ? "waiting" : entry.state,
      problem: entry.problem,
      receipt: entry === pending.at(-1) || entry.state === "refused",
      id: entry.clientMessageId,
    });
  }

  /** @type {Row[]} */
  const result = [];
  items.forEach((item, i) => {
    const before = items[i - 1];
    const after = items[i + 1];
    const day = dayKey(item.time);
    const newDay = !before || dayKey(before.time) !== day;
    const firstUnread = item.seq !== undefined && item.seq === unreadFrom;
    if (newDay) result.push({ key: `day:${day}:${item.page}`, page: item.page, signature: dayName(item.time), render: () => separator(dayName(item.time)) });
    if (firstUnread) result.push({ key: "unread", page: item.page, signature: "", render: () => separator("New", "unread-separator") });
    item.first = newDay || firstUnread || !together(before, item);
    item.last = !after || dayKey(after.time) !== day || after.seq === unreadFrom || !together(item, after);
    result.push({ key: item.key, page: item.page, signature: encode(item), render: () => row(item, app, actions) });
  });
  return result;
}

/**
 * Messages of one sender shortly after each other share a name, a picture and a time.
 *
 * @param {Item | undefined} a
 * @param {Item} b
 */
function together(a, b) {
  return a !== undefined && a.sender === b.sender && a.mine === b.mine && !a.system && !b.system && new Date(b.time).getTime() - new Date(a.time).getTime() < GROUPING_PERIOD;
}

/**
 * @param {string} text
 * @param {string} name
 */
function separator(text, name = "") {
  return h("div", { class: `separator ${name}`, role: "listitem" }, h("span", {}, text));
}

/**
 * @param {Item} item
 * @param {App} app
 * @param {Actions} actions
 */
function row(item, app, actions) {
  if (item.system) {
    return h("div", { class: "system-message", role: "listitem" }, h("span", { dir: "auto" }, item.content), " ", timeElement(item.time, clock));
  }
  const classes = ["message", item.mine ? "mine" : "theirs", item.first ? "first" : "", item.last ? "last" : "", `state-${item.state}`];
  const bubble = h("div", { class: item.deleted ? "bubble deleted" : "bubble", dir: "auto" }, item.deleted ? item.content : linked(item.content));
  return h(
    "div",
    { class: classes.filter(Boolean).join(" "), role: "listitem" },
    item.mine ? null : item.last ? avatar(item.name ?? "", item.image, app) : h("span", { class: "avatar-space" }),
    h(
      "div",
      { class: "message-body" },
      item.first && !item.mine ? sender(item) : spoken(`${item.mine ? "You" : item.name}: `),
      bubble,
      item.last || item.receipt ? meta(item, actions) : null,
    ),
  );
}

/**
 * Only agents have the mark, because any user can choose an agent's name.
 *
 * @param {Item} item
 */
function sender({ name, agent }) {
  return h("span", { class: "sender" }, h("bdi", {}, name), agent ? [" ", h("span", { class: "agent-mark" }, "Support")] : null);
}

/**
 * @param {Item} item
 * @param {Actions} actions
 */
function meta(item, actions) {
  if (item.state === "refused") return refused(item, actions);
  if (item.state === "waiting") {
    return h(
      "div",
      { class: "meta waiting" },
      icon("clock"),
      h("span", { title: item.problem }, "Not sent yet, trying again"),
      h("button", { type: "button", class: "link", onclick: () => actions.retry(item.id ?? "") }, "Retry now"),
    );
  }
  const [symbol, text] = RECEIPTS[item.state];
  return h(
    "div",
    { class: "meta" },
    timeElement(item.time, clock),
    item.mine && item.receipt ? h("span", { class: "receipt" }, icon(symbol), text) : null,
  );
}

/**
 * @param {Item} item
 * @param {Actions} actions
 */
function refused(item, actions) {
  return h(
    "div",
    { class: "meta refused" },
    h("span", { class: "reason" }, icon("alert"), h("span", {}, `Not sent. ${item.problem}`)),
    h(
      "span",
      { class: "actions" },
      h("button", { type: "button", class: "link", onclick: () => actions.retry(item.id ?? "") }, "Retry"),
      h("button", { type: "button", class: "link", onclick: () => actions.edit(item) }, "Edit"),
      h("button", { type: "button", class: "link", onclick: () => actions.discard(item.id ?? "") }, "Delete"),
    ),
  );
}
