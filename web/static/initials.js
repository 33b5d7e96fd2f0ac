/** The letters that stand for a person who has no picture. */

import { characters } from "./characters.js";

/**
 * Return one or two letters for a name: whole characters, so that emoji and accents stay intact.
 *
 * @param {string | null | undefined} name
 */
export function initials(name) {
  const words = String(name ?? "").trim().split(/\s+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return letters.map((word) => characters(word)[0]).join("").toLocaleUpperCase() || "?";
}
