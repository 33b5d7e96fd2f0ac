/**
 * Which parts of a text are links.
 *
 * `admin_ui/links.py` has the same rule for the console; tests/data/links.json holds both to
 * it. Only http and https addresses become links, and those that begin with "www.". An address
 * with a user name before the host is none: it shows one site and opens another.
 */

/** An address ends at white space, a quotation mark or angle bracket, and at invisible characters. */
const LINK =
  /(?:https?:\/\/|www\.)[^\s<>"'`\\\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u201c\u201d\u2018\u2019\u00ab\u00bb\u300c-\u300f\u3010\u3011\uff08\uff09\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f]+\\?/giu;
const SCHEME = /^https?:\/\//iu;
const AUTHORITY = /^(?:\[[0-9a-f:.]+\]|[^[\]:@\\]+)(?::[0-9]{1,5})?$/iu;
const TRAILING = /[.,;:!?*_~]+$/u;
/** @type {Record<string, string>} */
const BRACKETS = { ")": "(", "]": "[", "}": "{" };
/** "www." in the middle of a word or of another address begins nothing. */
const INSIDE = /^[0-9A-Za-z._@/-]$/u;

/**
 * Return the parts of a text; `address` is null for plain text.
 *
 * @param {string} text
 * @returns {{ text: string, address: string | null }[]}
 */
export function split(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const shown = withoutTrailing(match[0]);
    const address = addressOf(shown, text.slice(0, match.index).slice(-1));
    if (!address) continue;
    if (match.index > end) parts.push({ text: text.slice(end, match.index), address: null });
    parts.push({ text: shown, address });
    end = match.index + shown.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end), address: null });
  return parts;
}

/**
 * @param {string} shown
 * @param {string} before
 */
function addressOf(shown, before) {
  const scheme = SCHEME.exec(shown)?.[0] ?? "";
  const authority = shown.slice(scheme.length).split(/[/?#]/u, 1)[0];
  if (!AUTHORITY.test(authority)) return null;
  if (scheme) return shown;
  return INSIDE.test(before) || authority.split(".").length < 3 ? null : `https://${shown}`;
}

/**
 * Leave out what ends the sentence rather than the address: "(see https://a.example/x)."
 *
 * @param {string} address
 */
function withoutTrailing(address) {
  let text = address;
  for (;;) {
    let shorter = text.replace(TRAILING, "");
    const closing = shorter.slice(-1);
    const opening = BRACKETS[closing];
    if (opening && shorter.split(closing).length > shorter.split(opening).length) shorter = shorter.slice(0, -1);
    if (shorter === text) return text;
    text = shorter;
  }
}
