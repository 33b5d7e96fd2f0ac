/** When the next round of polling comes. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { NetworkError } from "../../../chat_ui/static/api.js";
import { Poller } from "../../../chat_ui/static/poller.js";
import { settle, useBrowser } from "../browser.js";

/**
 * @param {import("node:test").TestContext} context
 * @param {{ random?: number, interval?: (failed?: boolean) => number }} [options]
 */
function make(context, { random = 0.5, interval = () => 3000 } = {}) {
  const browser = useBrowser(context, { random });
  /** @type {(() => Promise<void>)[]} */
  const tasks = [];
  let rounds = 0;
  const poller = new Poller(async () => {
    rounds += 1;
    await tasks.shift()?.();
  }, interval);
  return { poller, browser, tasks, rounds: () => rounds };
}

test("it runs at once and then in its interval, a little spread", async (context) => {
  const { poller, browser, rounds } = make(context, { random: 1 });
  poller.start();
  poller.start();
  await settle();
  assert.equal(rounds(), 1);
  browser.clock.tick(3149);
  await settle();
  assert.equal(rounds(), 1);
  browser.clock.tick(1);
  await settle();
  assert.equal(rounds(), 2);
});

test("a failing task is repeated later and later, and in its interval once it succeeds", async (context) => {
  const { poller, browser, tasks, rounds } = make(context, { random: 1 });
  const fail = () => Promise.reject(new NetworkError());
  tasks.push(fail, fail, fail);
  poller.start();
  await settle();
  for (const [delay, count] of [[3000, 2], [6000, 3], [12_000, 4], [3150, 5]]) {
    browser.clock.tick(delay - 1);
    await settle();
    assert.equal(rounds(), count - 1);
    browser.clock.tick(1);
    await settle();
    assert.equal(rounds(), count);
  }
});

test("it waits as long as the server asks", async (context) => {
  const { poller, browser, tasks, rounds } = make(context, { random: 0 });
  tasks.push(() => Promise.reject(Object.assign(new Error("busy"), { retryAfter: 30 })));
  poller.start();
  await settle();
  browser.clock.tick(29_999);
  await settle();
  assert.equal(rounds(), 1);
  browser.clock.tick(1);
  await settle();
  assert.equal(rounds(), 2);
});

test("what is asked for while it runs comes once after it", async (context) => {
  const { poller, tasks, rounds } = make(context);
  /** @type {() => void} */
  let finish = () => undefined;
  tasks.push(() => new Promise((resolve) => { finish = resolve; }));
  poller.start();
  await settle();
  poller.now();
  poller.now();
  assert.equal(rounds(), 1);
  finish();
  await settle();
  assert.equal(rounds(), 2);
});

test("a tab that is shown, a network and a page that come back ask at once", async (context) => {
  const { poller, browser, rounds } = make(context);
  poller.start();
  await settle();
  browser.hide(true);
  await settle();
  assert.equal(rounds(), 1);
  browser.hide(false);
  await settle();
  browser.window.dispatchEvent(new Event("online"));
  await settle();
  browser.window.dispatchEvent(new Event("pageshow"));
  await settle();
  assert.equal(rounds(), 4);
});

test("one that was stopped asks no more", async (context) => {
  const { poller, browser, rounds } = make(context);
  poller.start();
  await settle();
  poller.stop();
  browser.clock.tick(100_000);
  browser.window.dispatchEvent(new Event("online"));
  await poller.now();
  assert.equal(rounds(), 1);
});

test("a changed interval holds at once, but not after a failure", async (context) => {
  let interval = 60_000;
  const { poller, browser, tasks, rounds } = make(context, { random: 1, interval: () => interval });
  poller.start();
  await settle();
  interval = 3000;
  poller.reschedule();
  browser.clock.tick(3000);
  await settle();
  assert.equal(rounds(), 2);

  tasks.push(() => Promise.reject(new NetworkError()));
  await poller.now();
  interval = 10;
  poller.reschedule();
  browser.clock.tick(2999);
  await settle();
  assert.equal(rounds(), 3);
});
