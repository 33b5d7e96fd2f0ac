/** Times in the reader's zone and manner; the exact time is always in the title. */

import { h } from "./dom.js";

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const SHORT_DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL_DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const LONG_DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

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

/** @param {string} iso */
function daysAgo(iso) {
  const midnight = (/** @type {Date} */ date) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return Math.round((midnight(new Date()) - midnight(new Date(iso))) / 86_400_000);
}

/**
 * For the separators between messages: "Today", "Yesterday", "Monday, 16 November".
 *
 * @param {string} iso
 */
export function dayName(iso) {
  const days = daysAgo(iso);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  const sameYear = new Date(iso).getFullYear() === new Date().getFullYear();
  return (sameYear ? LONG_DAY : FULL_DATE).format(new Date(iso));
}

/** @param {string} iso */
export function clock(iso) {
  return CLOCK.format(new Date(iso));
}

/** @param {string} iso */
export function exact(iso) {
  return EXACT.format(new Date(iso));
}

/**
 * For the chat list: the time today, then the weekday, then the date.
 *
 * @param {string} iso
 */
export function brief(iso) {
  const days = daysAgo(iso);
  const date = new Date(iso);
  if (days <= 0) return CLOCK.format(date);
  if (days === 1) return "Yesterday";
  if (days < 7) return WEEKDAY.format(date);
  return (date.getFullYear() === new Date().getFullYear() ? SHORT_DATE : FULL_DATE).format(date);
}

/**
 * @param {string} iso
 * @param {(iso: string) => string} format
 */
export function timeElement(iso, format) {
  return h("time", { datetime: iso, title: exact(iso) }, format(iso));
}
