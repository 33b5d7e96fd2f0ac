/** Times in the reader's zone and language, the exact one on hover. */

import { CLOCK, DATE, DAY_AND_MONTH, WEEKDAY, dayName, daysAgo, exactTime, timeFormat } from "../../web/static/times.js";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
/** A date of last year: the month alone could be this year's. */
const SHORT_DATE = timeFormat({ day: "numeric", month: "short", year: "2-digit" });
const YEAR_FROM = 300;

/** How a time is written, by its `data-form`. @type {Record<string, (at: Date) => string>} */
export const FORMS = {
  clock: (at) => CLOCK.format(at),
  date: (at) => DATE.format(at),
  long: (at) => `${DATE.format(at)}, ${CLOCK.format(at)}`,
  short(at) {
    const days = daysAgo(at);
    if (days <= 0) return CLOCK.format(at);
    if (days < 7) return WEEKDAY.format(at);
    return (days < YEAR_FROM ? DAY_AND_MONTH : SHORT_DATE).format(at);
  },
  day: dayName,
};

/** Write every time below an element in the reader's zone. */
export function localise(root = document) {
  /** @type {NodeListOf<HTMLTimeElement>} */
  const times = root.querySelectorAll("time[data-form]");
  for (const time of times) {
    const at = new Date(time.dateTime);
    const text = FORMS[time.dataset.form ?? "long"](at);
    if (time.textContent === text) continue;
    time.textContent = text;
    time.title = exactTime(at);
  }
}

/** Tell whether the browser has kept the cookie with the zone: it may block them all. */
export const zoneIsKept = () => navigator.cookieEnabled && document.cookie.includes("chat_zone=");

/** Keep the zone in a cookie, so that the server parts days where the reader does. */
export function rememberZone() {
  const wanted = `chat_zone=${zone}`;
  if (document.cookie.split("; ").includes(wanted)) return false;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${wanted}; path=/admin; samesite=lax; max-age=31536000${secure}`;
  return zone !== "UTC";
}
