/** The letters in place of a picture. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { initials } from "../../../web/static/initials.js";

test("a person has the first letters of the first and the last name", () => {
  assert.equal(initials("Ana Souza"), "AS");
  assert.equal(initials("  ana   maria  souza "), "AS");
  assert.equal(initials("Ana"), "A");
});

test("whole characters are taken, so that emoji and accents stay intact", () => {
  assert.equal(initials("👩‍👩‍👧‍👦 e\u0301va"), "👩‍👩‍👧‍👦E\u0301");
  assert.equal(initials("山田 太郎"), "山太");
});

test("without a name there is a question mark", () => {
  for (const name of ["", "  ", null, undefined]) assert.equal(initials(name), "?");
});
