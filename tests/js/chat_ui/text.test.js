/** What is done to text that people wrote. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { capital, imageAddress, length, list, plural, subjectOf, tidy } from "../../../chat_ui/static/text.js";

const FAMILY = "👩‍👩‍👧‍👦";
const ACCENTED = "e\u0301";

test("length counts code points, as the API does", () => {
  assert.equal(length(""), 0);
  assert.equal(length("abc"), 3);
  assert.equal(length("👋"), 1);
  assert.equal(length(FAMILY), 7);
  assert.equal(length(ACCENTED), 2);
});

test("tidy makes what the API stores", () => {
  assert.equal(tidy("  a\r\nb\rc\u0085d\ve \n"), "a\nb\nc\nd\ne");
  assert.equal(tidy("a\u0000\u0007\tb\u200b"), "a\tb\u200b");
  assert.equal(tidy("\ud800"), "\ufffd");
  assert.equal(tidy(" \n\t "), "");
});

test("a subject is whole characters of the first line or sentence", () => {
  /** @type {[string, string | null][]} */
  const cases = [
    ["  Hello\nSecond line", "Hello"],
    ["Hi. My parcel is late. It was sent on Monday.", "Hi. My parcel is late."],
    ["one\t two", "one two"],
    ["word ".repeat(60), null],
    [FAMILY.repeat(40), `${FAMILY.repeat(28)}…`],
    [ACCENTED.repeat(150), `${ACCENTED.repeat(99)}…`],
    [`x${"\u0301".repeat(500)}`, null],
    ["x".repeat(200), "x".repeat(200)],
  ];
  for (const [message, expected] of cases) {
    const subject = subjectOf(message, 200);
    assert.ok(length(subject) > 0 && length(subject) <= 200, message);
    if (expected !== null) assert.equal(subject, expected);
  }
});

test("a picture is taken from the chat's own server and from named hosts over https alone", () => {
  /** @param {unknown} address */
  const allowed = (address) => imageAddress(address, "https://chat.example", ["img.example", "cdn.example:8443"]);
  assert.equal(allowed("https://chat.example/a.png"), "https://chat.example/a.png");
  assert.equal(allowed("https://img.example/a.png"), "https://img.example/a.png");
  assert.equal(allowed("https://cdn.example:8443/a.png"), "https://cdn.example:8443/a.png");
  const refused = ["http://img.example/a.png", "https://img.example:8443/a", "https://evil.example/a", "https://x@img.example/a", "data:image/png;base64,AA", "a.png", "", null, 5];
  for (const address of refused) assert.equal(allowed(address), null, String(address));
});

test("names are listed as people list them", () => {
  assert.equal(list([]), "");
  assert.equal(list(["Ana"]), "Ana");
  assert.equal(list(["Ana", "Ben"]), "Ana and Ben");
  assert.equal(list(["Ana", "Ben", "Eva"]), "Ana, Ben and Eva");
});

test("a count has its noun in the right number", () => {
  assert.equal(plural(1, "message"), "1 message");
  assert.equal(plural(0, "message"), "0 messages");
  assert.equal(plural(2, "person", "people"), "2 people");
});

test("capital changes the first letter alone", () => {
  assert.equal(capital("billing"), "Billing");
  assert.equal(capital(""), "");
});
