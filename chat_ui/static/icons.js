/** The icons, drawn as strokes in the current text colour. */

import { svg } from "./dom.js";

const PATHS = {
  alert: ["M12 8v5", "M12 16.5v.01", "M12 3 2.5 20h19z"],
  back: ["M15 5l-7 7 7 7"],
  chat: ["M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v7a2.5 2.5 0 0 1-2.5 2.5H12l-5 4v-4h-.5A2.5 2.5 0 0 1 4 13.5z"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  checks: ["M2.5 12.5L7 17 14.5 8", "M11.5 15.5L13 17l8-9"],
  clock: ["M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z", "M12 8v4.5l3 1.5"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  down: ["M12 5v13", "M6 12.5l6 6 6-6"],
  fold: ["M6 9l6 6 6-6"],
  lock: ["M7 11V8a5 5 0 0 1 10 0v3", "M5.5 11h13v9h-13z"],
  offline: ["M3 3l18 18", "M8.5 15.5a5 5 0 0 1 6.5-.4", "M5 12a10 10 0 0 1 4-2.4", "M13.5 9.2A10 10 0 0 1 19 12", "M2 8.5A15 15 0 0 1 6 6", "M11 5a15 15 0 0 1 11 3.5", "M12 19v.01"],
  plus: ["M12 5v14", "M5 12h14"],
  send: ["M4 12l16-8-5.5 16-3-7z", "M11.5 13L20 4"],
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  return svg(...PATHS[name]);
}
