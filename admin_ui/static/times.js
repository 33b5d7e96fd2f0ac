/** Times in the reader's zone and language, the exact one on hover. */

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const format = (options) => new Intl.DateTimeFormat(undefined, options);
const formats = {
  clock: format({ hour: "numeric", minute: "2-digit" }),
  weekday: format({ weekday: "short" }),
  near: format({ day: "numeric", month: "short" }),
  far: format({ day: "numeric", month: "short", year: "2-digit" }),
  date: format({ day: "numeric", month: "short", year: "numeric" }),
  day: format({ weekday: "long", day: "numeric", month: "long" }),
  exact: format({ dateStyle: "full", timeStyle: "long" }),
};

const midnight = (at) => new Date(at.getFullYear(), at.getMonth(), at.getDate());

function daysAgo(at) {
  return Math.round((midnight(new Date()) - midnight(at)) / 86_400_000);
}

const shapes = {
  clock: (at) => formats.clock.format(at),
  date: (at) => formats.date.format(at),
  long: (at) => `${formats.date.format(at)}, ${formats.clock.format(at)}`,
  short(at) {
    const ago = daysAgo(at);
    if (ago <= 0) return formats.clock.format(at);
    if (ago < 7) return formats.weekday.format(at);
    return (ago < 300 ? formats.near : formats.far).format(at);
  },
  day(at) {
    const ago = daysAgo(at);
    if (ago === 0) return "Today";
    if (ago === 1) return "Yesterday";
    return at.getFullYear() === new Date().getFullYear() ? formats.day.format(at) : formats.date.format(at);
  },
};

/** Write every time below an element anew. */
export function localise(root = document) {
  for (const time of root.querySelectorAll("time[data-form]")) {
    const at = new Date(time.dateTime);
    const text = shapes[time.dataset.form](at);
    if (time.textContent === text) continue;
    time.textContent = text;
    time.title = formats.exact.format(at);
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
