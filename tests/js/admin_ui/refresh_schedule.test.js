/** When the console is refreshed, with a clock that the test moves. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { RefreshSchedule, RefreshState } from "../../../admin_ui/static/refresh_schedule.js";
import { settle, useBrowser } from "../browser.js";

/** @import { Round } from "../../../admin_ui/static/refresh_schedule.js" */

/** @param {import("node:test").TestContext} context */
function make(context) {
  const browser = useBrowser(context, { random: 0.5 });
  /** @type {Round[]} */
  const rounds = [];
  /** @type {((round: Round) => Promise<void>)[]} */
  const next = [];
  const world = { isBlocked: false, deferral: 0 };
  const schedule = new RefreshSchedule({
    run: async (round) => {
      rounds.push(round);
      await next.shift()?.(round);
    },
    isBlocked: () => world.isBlocked,
    deferral: () => world.deferral,
  });
  /** @type {any[]} */
  const emitted = [];
  schedule.on("done", ({ wasLost }) => emitted.push(wasLost ? "found" : "done"));
  schedule.on("failed", ({ message }) => emitted.push(message));
  /** How many rounds there are within a time, looked at every 10 ms. @param {number} milliseconds */
  const within = async (milliseconds) => {
    const before = rounds.length;
    for (let passed = 0; passed < milliseconds; passed += 10) {
      browser.clock.tick(10);
      await settle();
    }
    return rounds.length - before;
  };
  const fail = (seconds = 0) => () => Promise.reject(Object.assign(new Error("failed"), { seconds }));
  return { ...browser, browser, schedule, rounds, next, world, emitted, within, fail };
}

test("without a live connection it is refreshed every three seconds, in a hidden tab every thirty", async (context) => {
  const { schedule, within, browser } = make(context);
  schedule.schedule();
  assert.equal(await within(2990), 0);
  assert.equal(await within(27_010), 10);
  browser.hide(true);
  schedule.schedule();
  assert.equal(await within(29_990), 0);
  assert.equal(await within(10), 1);
});

test("while updates come in live a poll still makes sure, every 45 seconds or two minutes", async (context) => {
  const { schedule, within, browser } = make(context);
  schedule.pace(true);
  assert.equal(await within(44_990), 0);
  assert.equal(await within(10), 1);
  browser.hide(true);
  schedule.schedule();
  assert.equal(await within(119_990), 0);
  assert.equal(await within(10), 1);
  browser.hide(false);
  schedule.pace(false);
  assert.equal(await within(3000), 1);
});

test("what is asked for while a round runs comes once after it", async (context) => {
  const { schedule, rounds, next } = make(context);
  /** @type {() => void} */
  let finish = () => undefined;
  next.push(() => new Promise((resolve) => { finish = resolve; }));
  const all = schedule.refresh();
  assert.equal(schedule.state, RefreshState.RUNNING);
  schedule.refresh();
  schedule.refresh();
  assert.equal(schedule.state, RefreshState.REPEATING);
  finish();
  await all;
  assert.equal(rounds.length, 2);
  assert.equal(schedule.state, RefreshState.WAITING);
});

test("a change of this page's own makes one round certain", async (context) => {
  const { schedule, rounds } = make(context);
  await schedule.refresh({ isCertain: true });
  await schedule.refresh();
  assert.deepEqual(rounds.map(({ isCertain }) => isCertain), [true, false]);
});

test("failures make the rounds rarer, up to half a minute, until one succeeds", async (context) => {
  const { schedule, within, next, fail, emitted } = make(context);
  next.push(fail(), fail(), fail(), fail(), fail(), fail());
  await schedule.refresh();
  assert.equal(schedule.isReachable, false);
  for (const delay of [3000, 6000, 12_000, 24_000, 30_000]) {
    assert.equal(await within(delay - 10), 0);
    assert.equal(await within(10), 1);
  }
  assert.equal(await within(30_000), 1);
  assert.equal(schedule.isReachable, true);
  assert.deepEqual(emitted, [...Array(6).fill("failed"), "found"]);
  assert.equal(await within(3000), 1);
});

test("it waits as long as the server asks, events or not", async (context) => {
  const { schedule, within, next, fail } = make(context);
  next.push(fail(20));
  await schedule.refresh();
  schedule.scheduleRefresh();
  assert.equal(await within(19_990), 0);
  assert.equal(await within(10), 1);
});

test("the connections that the browser keeps are tried quickly once one was found dead", async (context) => {
  const { schedule, within, rounds, next, fail } = make(context);
  /** @type {Round | undefined} */
  let hanging;
  next.push((round) => {
    hanging = round;
    return new Promise((_, reject) => { round.signal.addEventListener("abort", reject); });
  });
  next.push(...Array(8).fill(fail()));
  schedule.refresh();
  schedule.refresh({ abortPending: true });
  assert.equal(hanging?.signal.aborted, true);
  await settle();
  await within(100);
  // The first was given up, which is no failure; six more have a short time each.
  assert.deepEqual(rounds.map(({ timeout }) => timeout), [15_000, ...Array(6).fill(2000)]);
  assert.equal(await within(3000), 1);
  assert.equal(rounds.at(-1)?.timeout, 15_000);
});

test("an event leads to a refresh at once, a burst of them only now and then", async (context) => {
  const { schedule, within, rounds } = make(context);
  schedule.pace(true);
  schedule.scheduleRefresh();
  schedule.scheduleRefresh();
  assert.equal(await within(20), 0);
  assert.equal(await within(20), 1);
  const before = rounds.length;
  for (let event = 0; event < 500; event += 1) {
    schedule.scheduleRefresh();
    await within(10);
  }
  // Five seconds of events: more than one a second, far fewer than events.
  assert.ok(rounds.length - before >= 5 && rounds.length - before <= 12, String(rounds.length - before));
  await within(3000);
  const after = rounds.length;
  schedule.scheduleRefresh();
  await within(40);
  assert.equal(rounds.length - after, 1);
});

test("events reach a hidden tab every two seconds", async (context) => {
  const { schedule, within, browser } = make(context);
  schedule.pace(true);
  browser.hide(true);
  let count = 0;
  for (let event = 0; event < 1000; event += 1) {
    schedule.scheduleRefresh();
    count += await within(10);
  }
  assert.ok(count >= 4 && count <= 6, String(count));
});

test("what was left out because of the pointer is due soon", async (context) => {
  const { schedule, within, world } = make(context);
  world.deferral = 600;
  await schedule.refresh();
  world.deferral = 0;
  assert.equal(await within(590), 0);
  assert.equal(await within(10), 1);
});

test("nothing is asked while the dialog to sign in is open", async (context) => {
  const { schedule, within, world, emitted } = make(context);
  world.isBlocked = true;
  await schedule.refresh({ isCertain: true });
  assert.equal(await within(9000), 0);
  assert.deepEqual(emitted, []);
  world.isBlocked = false;
  assert.equal(await within(3000), 1);
});

test("nothing is asked while the session ends, and what is on its way is given up", async (context) => {
  const { schedule, within, next, emitted } = make(context);
  next.push(({ signal }) => new Promise((_, reject) => { signal.addEventListener("abort", () => reject(new Error("aborted"))); }));
  schedule.refresh();
  schedule.pause();
  await settle();
  await schedule.refresh();
  schedule.scheduleRefresh();
  assert.equal(schedule.state, RefreshState.PAUSED);
  assert.deepEqual(emitted, []);
  assert.equal(await within(15_000), 0);
  // The page is still here: it goes on.
  assert.equal(await within(3000), 1);
});
