/** Ids of messages. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { newId } from "../../../web/static/ids.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("ids are random UUIDs", () => {
  const ids = Array.from({ length: 100 }, newId);
  assert.equal(new Set(ids).size, 100);
  for (const id of ids) assert.match(id, UUID);
});

test("they are the same on a page without https, where randomUUID does not exist", (context) => {
  const original = crypto.randomUUID;
  context.after(() => Object.defineProperty(crypto, "randomUUID", { value: original, configurable: true, writable: true }));
  Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true, writable: true });
  const ids = Array.from({ length: 100 }, newId);
  assert.equal(new Set(ids).size, 100);
  for (const id of ids) assert.match(id, UUID);
});
