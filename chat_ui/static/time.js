/** Times as the chat shows them; the exact time is always in the title. */

import { CLOCK, DATE, DAY_AND_MONTH, WEEKDAY, dayName as nameOf, daysAgo, exactTime, isThisYear } from "../../web/static/times.js";
import { h } from "./dom.js";

/**
 * The reader's calendar day as 2026-11-22, to compare days with.
 *
 * @param {string} iso
 */
export function dayKey(iso) {
  const date = new Date(iso);
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/**
 * For the separators between messages: "Today", "Yesterday", "Monday, 16 November".
 *
 * @param {string} iso
 */
export function dayName(iso) {
  return nameOf(new Date(iso));
}

/** @param {string} iso */
export function clock(iso) {
  return CLOCK.format(new Date(iso));
}

/**
 * For the chat list: the time today, then the weekday, then the date.
 *
 * @param {string} iso
 */
export function brief(iso) {
  const date = new Date(iso);
  const days = daysAgo(date);
  if (days <= 0) return CLOCK.format(date);
  if (days === 1) return "Yesterday";
  if (days < 7) return WEEKDAY.format(date);
  return (isThisYear(date) ? DAY_AND_MONTH : DATE).format(date);
}

/**
 * @param {string} iso
 * @param {(iso: string) => string} format
 */
export function timeElement(iso, format) {
  return h("time", { datetime: iso, title: exactTime(new Date(iso)) }, format(iso));
}
