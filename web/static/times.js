/** Times in the reader's zone and manner: what both front ends write in the same way. */

const A_DAY = 86_400_000;

/** @param {Intl.DateTimeFormatOptions} options */
export const timeFormat = (options) => new Intl.DateTimeFormat(undefined, options);

export const CLOCK = timeFormat({ hour: "numeric", minute: "2-digit" });
export const WEEKDAY = timeFormat({ weekday: "short" });
export const DAY_AND_MONTH = timeFormat({ day: "numeric", month: "short" });
export const DATE = timeFormat({ day: "numeric", month: "short", year: "numeric" });
const LONG_DAY = timeFormat({ weekday: "long", day: "numeric", month: "long" });
const EXACT = timeFormat({ dateStyle: "full", timeStyle: "long" });

/** @param {Date} date */
export const isThisYear = (date) => date.getFullYear() === new Date().getFullYear();

/**
 * Return how many midnights of the reader have passed since then; a day of 23 hours is one, too.
 *
 * @param {Date} date
 */
export function daysAgo(date) {
  const midnight = (/** @type {Date} */ at) => Date.UTC(at.getFullYear(), at.getMonth(), at.getDate());
  return Math.round((midnight(new Date()) - midnight(date)) / A_DAY);
}

/**
 * Return the name of a day, for the separators between messages: "Today", "Yesterday",
 * "Monday, 16 November", in another year "16 Nov 2025".
 *
 * @param {Date} date
 */
export function dayName(date) {
  const days = daysAgo(date);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (isThisYear(date) ? LONG_DAY : DATE).format(date);
}

/**
 * Return the exact time with its zone, for the title of a shorter one.
 *
 * @param {Date} date
 */
export function exactTime(date) {
  return EXACT.format(date);
}
