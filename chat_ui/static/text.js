/** What is done to text that people wrote: counting, linking, initials, safe addresses. */

import { h } from "./dom.js";
import { split } from "./links.js";

/** The number of characters as the API counts them: code points, not UTF-16 units. */
export function length(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/**
 * Text as the API stores it: no blanks around, line ends are \n. Word processors leave
 * invisible control characters in what is pasted; the API refuses them, nobody misses them.
 */
export function tidy(text) {
  return text
    .replace(/\r\n?|[\v\f\u0085]/gu, "\n")
    .replace(/[^\P{Cc}\n\t]/gu, "")
    .replace(/\p{Cs}/gu, "\ufffd")
    .trim();
}

/** Text as strings and links; only web addresses become links. */
export function linked(text) {
  return split(text).map((part) =>
    part.address ? h("a", { href: part.address, target: "_blank", rel: "noopener noreferrer nofollow" }, part.text) : part.text,
  );
}

/** A picture's address if it may be loaded, or null: of the chat's own server, or over https of one of `hosts`. */
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

/** One or two letters for a name; whole characters, so that emoji and accents stay intact. */
export function initials(name) {
  const words = String(name ?? "").trim().split(/\s+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => firstCharacter(word)).join("").toLocaleUpperCase() || "?";
}

function firstCharacter(word) {
  if (!Intl.Segmenter) return [...word][0];
  const [first] = new Intl.Segmenter().segment(word);
  return first.segment;
}

export function capital(text) {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}

/** "Ana", "Ana and Ben", "Ana, Ben and Eva". */
export function list(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}
