/** What is done to text that people wrote: counting, linking, safe addresses. */

import { characters, segments } from "../../web/static/characters.js";
import { h } from "./dom.js";
import { split } from "./links.js";

/**
 * The number of characters as the API counts them: code points, not UTF-16 units.
 *
 * @param {string} text
 */
export function length(text) {
  return [...text].length;
}

/**
 * Text as the API stores it: no blanks around, line ends are \n. Word processors leave
 * invisible control characters in pasted text, because the API rejects them.
 *
 * @param {string} text
 */
export function tidy(text) {
  return text
    .replace(/\r\n?|[\v\f\u0085]/gu, "\n")
    .replace(/[^\P{Cc}\n\t]/gu, "")
    .replace(/\p{Cs}/gu, "\ufffd")
    .trim();
}

/**
 * Text as strings and links; only web addresses become links.
 *
 * @param {string} text
 */
export function linked(text) {
  return split(text).map((part) =>
    part.address ? h("a", { href: part.address, target: "_blank", rel: "noopener noreferrer nofollow" }, part.text) : part.text,
  );
}

/**
 * A picture's address if it may be loaded, or null: of the chat's own server, or over https of one of `hosts`.
 *
 * @param {unknown} text
 * @param {string} origin
 * @param {string[]} hosts
 */
export function imageAddress(text, origin, hosts) {
  if (typeof text !== "string" || text === "") return null;
  try {
    const url = new URL(text);
    if (url.username || url.password) return null;
    return [origin, ...hosts.map((host) => new URL(`https://${host}`).origin)].includes(url.origin) ? url.href : null;
  } catch {
    return null;
  }
}

/** "Hello." says nothing: where the line goes on, a subject is at least so long. */
const TELLING = 20;

/**
 * The subject of a chat that begins with `message`: its first line or sentence, `limit` long at most.
 *
 * @param {string} message
 * @param {number} limit
 */
export function subjectOf(message, limit) {
  const line = tidy(message).split("\n", 1)[0].replace(/\s+/gu, " ");
  let subject = "";
  for (const sentence of segments(line, "sentence") ?? [line]) {
    if (length(subject) >= TELLING) break;
    subject += sentence;
  }
  subject = subject.trim();
  return length(subject) <= limit ? subject : `${shortened(subject, limit - 1).trimEnd()}\u2026`;
}

/**
 * The beginning of a text: whole characters, unless the first alone is longer than `limit`.
 *
 * @param {string} text
 * @param {number} limit
 */
function shortened(text, limit) {
  let result = "";
  let used = 0;
  for (const character of characters(text)) {
    used += length(character);
    if (used > limit) break;
    result += character;
  }
  return result || [...text].slice(0, limit).join("");
}

/** @param {string} text */
export function capital(text) {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}

/**
 * "Ana", "Ana and Ben", "Ana, Ben and Eva".
 *
 * @param {string[]} names
 */
export function list(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} many
 */
export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}
