/** JSON beside libraries that change how lists are written. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Emitter } from "../../../web/static/emitter.js";
import { encode } from "../../../web/static/json.js";

test("lists stay lists where a library gives them a toJSON", (context) => {
  const lists = /** @type {any} */ (Array.prototype);
  lists.toJSON = () => "[1, 2]";
  context.after(() => delete lists.toJSON);
  assert.equal(encode({ a: [1, [2]], b: "x", c: null, d: new Date(0) }), '{"a":[1,[2]],"b":"x","c":null,"d":"1970-01-01T00:00:00.000Z"}');
});

test("a listener is called until it is removed, also when it removes itself", () => {
  const emitter = new Emitter();
  /** @type {unknown[]} */
  const heard = [];
  const remove = emitter.on("a", (detail) => {
    heard.push(detail);
    remove();
  });
  emitter.on("a", () => heard.push("other"));
  emitter.emit("a", 1);
  emitter.emit("a", 2);
  emitter.emit("b", 3);
  assert.deepEqual(heard, [1, "other", "other"]);
});
