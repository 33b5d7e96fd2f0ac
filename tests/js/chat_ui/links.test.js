/** The users' chat makes the same links as the console: one list of cases for both. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { split } from "../../../chat_ui/static/links.js";

/** @type {{ text: string, links: string[], shown?: string[] }[]} */
const CASES = JSON.parse(readFileSync(new URL("../../data/links.json", import.meta.url), "utf-8"));

test("the chat makes the links of the shared rule", () => {
  assert.ok(CASES.length > 30);
  for (const { text, links, shown = links } of CASES) {
    const parts = split(text);
    const found = parts.filter(({ address }) => address);
    assert.equal(parts.map((part) => part.text).join(""), text);
    assert.deepEqual(found.map(({ address }) => address), links, text);
    assert.deepEqual(found.map((part) => part.text), shown, text);
  }
});
