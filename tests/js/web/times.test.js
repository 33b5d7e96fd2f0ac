/** Times as both front ends write them, in the zone and language of the reader. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { brief, dayKey } from "../../../chat_ui/static/time.js";
import { dayName, daysAgo } from "../../../web/static/times.js";
import { FORMS } from "../../../admin_ui/static/times.js";

/** A Sunday afternoon, by the zone that the tests run in. */
const NOW = new Date(2026, 10, 22, 15, 0);

/** @param {import("node:test").TestContext} context */
function stopClock(context) {
  context.mock.timers.enable({ apis: ["Date"], now: NOW.getTime() });
}

/**
 * Return what an expression of the modules gives where the reader, or the time, is another.
 *
 * @param {string} zone
 * @param {string} code
 */
function elsewhere(zone, code, now = NOW.toISOString()) {
  const source = `
    import { mock } from "node:test";
    const Format = Intl.DateTimeFormat;
    Intl.DateTimeFormat = function (_, options) { return new Format("en-US", options); };
    mock.timers.enable({ apis: ["Date"], now: new Date("${now}").getTime() });
    const consoleTimes = await import("./admin_ui/static/times.js");
    const chatTimes = await import("./chat_ui/static/time.js");
    const times = await import("./web/static/times.js");
    process.stdout.write(String(${code}));`;
  const cwd = new URL("../../..", import.meta.url);
  return execFileSync(process.execPath, ["--input-type=module", "--eval", source], { env: { ...process.env, TZ: zone }, cwd, encoding: "utf-8" });
}

test("days are counted by the reader's midnight", (context) => {
  stopClock(context);
  assert.equal(daysAgo(new Date(2026, 10, 22, 0, 1)), 0);
  assert.equal(daysAgo(new Date(2026, 10, 21, 23, 59)), 1);
  assert.equal(daysAgo(new Date(2026, 10, 15, 23, 59)), 7);
  assert.equal(daysAgo(new Date(2026, 10, 23, 0, 1)), -1);
});

test("a day that is an hour shorter is a day", () => {
  // In Berlin the clock was put forward on 29 March 2026.
  const code = `times.daysAgo(new Date("2026-03-28T23:30:00+01:00"))`;
  assert.equal(elsewhere("Europe/Berlin", code, "2026-03-30T00:30:00+02:00"), "2");
});

test("separators name today, yesterday, the day of this year and the date of another", (context) => {
  stopClock(context);
  assert.equal(dayName(new Date(2026, 10, 22, 8)), "Today");
  assert.equal(dayName(new Date(2026, 10, 21, 8)), "Yesterday");
  assert.match(dayName(new Date(2026, 10, 16)), /Monday/);
  assert.doesNotMatch(dayName(new Date(2026, 10, 16)), /2026/);
  assert.match(dayName(new Date(2025, 10, 16)), /2025/);
});

test("the chat's list shows the time, the weekday, then the date", (context) => {
  stopClock(context);
  const at = (/** @type {Date} */ date) => brief(date.toISOString());
  assert.match(at(new Date(2026, 10, 22, 9, 5)), /9:05/);
  assert.equal(at(new Date(2026, 10, 21, 9)), "Yesterday");
  assert.match(at(new Date(2026, 10, 17)), /^Tue/);
  assert.match(at(new Date(2026, 10, 15)), /15/);
  assert.doesNotMatch(at(new Date(2026, 10, 15)), /2026/);
  assert.match(at(new Date(2025, 10, 15)), /2025/);
  // A clock that is a little behind the server's.
  assert.match(at(new Date(2026, 10, 23, 0, 0, 30)), /:00/);
});

test("the console's list shows the time, the weekday, the date, and the year when it matters", (context) => {
  stopClock(context);
  assert.match(FORMS.short(new Date(2026, 10, 22, 9, 5)), /9:05/);
  assert.match(FORMS.short(new Date(2026, 10, 21)), /^Sat/);
  assert.match(FORMS.short(new Date(2026, 10, 15)), /15/);
  assert.doesNotMatch(FORMS.short(new Date(2026, 1, 1)), /26/);
  assert.match(FORMS.short(new Date(2026, 0, 1)), /26/);
  assert.match(FORMS.long(new Date(2026, 10, 15, 9, 5)), /2026, .*9:05/);
});

test("days are compared by the reader's calendar", () => {
  assert.equal(dayKey(new Date(2026, 0, 5, 23, 59).toISOString()), "2026-01-05");
  assert.equal(elsewhere("Asia/Tokyo", `chatTimes.dayKey("2026-11-21T15:00:00Z")`), "2026-11-22");
});

test("the clock has no zero before the hour, in both front ends", () => {
  const at = "2026-11-22T08:05:00Z";
  assert.match(elsewhere("Asia/Dubai", `chatTimes.clock("${at}")`), /^12:05\sPM$/u);
  assert.match(elsewhere("Etc/GMT+3", `chatTimes.clock("${at}")`), /^5:05\sAM$/u);
  assert.match(elsewhere("Etc/GMT+3", `consoleTimes.FORMS.clock(new Date("${at}"))`), /^5:05\sAM$/u);
});

test("the exact time says the reader's zone", () => {
  assert.match(elsewhere("Asia/Tokyo", `times.exactTime(new Date("2026-11-22T08:05:00Z"))`), /5:05:00\sPM (GMT\+9|JST)/u);
});
