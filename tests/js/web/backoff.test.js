/** How long to wait before the next attempt. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff } from "../../../web/static/backoff.js";

/**
 * @param {import("node:test").TestContext} context
 * @param {number} random
 */
function withChance(context, random) {
  context.mock.method(Math, "random", () => random);
}

test("the delay doubles up to its maximum and does not grow further", (context) => {
  withChance(context, 1);
  assert.deepEqual([1, 2, 3, 4].map((failures) => backoff(failures, 1000)), [1000, 2000, 4000, 8000]);
  assert.equal(backoff(7, 1000), 60_000);
  assert.equal(backoff(1000, 1000), 60_000);
  assert.equal(backoff(1000, 1000, { max: 30_000 }), 30_000);
  assert.equal(backoff(1000, 100), 6400);
});

test("the delay is spread over the second half, so that clients do not return together", (context) => {
  withChance(context, 0);
  assert.equal(backoff(1, 1000), 500);
  context.mock.restoreAll();
  const delays = Array.from({ length: 200 }, () => backoff(3, 1000));
  assert.ok(delays.every((delay) => delay >= 2000 && delay <= 4000));
  assert.ok(new Set(delays).size > 100);
});

test("it is never sooner than the server asked for", (context) => {
  withChance(context, 0.5);
  assert.equal(backoff(1, 1000, { retryAfter: 30 }), 33_000);
  assert.equal(backoff(1, 1000, { retryAfter: 0 }), 750);
  assert.equal(backoff(9, 1000, { retryAfter: 1 }), 45_000);
  assert.equal(backoff(1, 1000, { retryAfter: null }), 750);
});
