/** What is kept in the browser, also where the browser keeps nothing. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Drafts } from "../../../chat_ui/static/drafts.js";
import { LocalStore } from "../../../chat_ui/static/storage.js";
import { useBrowser } from "../browser.js";

/** A browser's storage. @returns {any} */
function area() {
  /** @type {Map<string, string>} */
  const values = new Map();
  return {
    values,
    get length() {
      return values.size;
    },
    key: (/** @type {number} */ i) => [...values.keys()][i],
    getItem: (/** @type {string} */ name) => values.get(name) ?? null,
    setItem: (/** @type {string} */ name, /** @type {string} */ value) => values.set(name, value),
    removeItem: (/** @type {string} */ name) => values.delete(name),
  };
}

/** One that throws at each call. @returns {any} */
const blocked = () => {
  throw new Error("SecurityError");
};

test("values are kept under the store's own prefix", () => {
  const browser = area();
  browser.setItem("other", "1");
  const store = new LocalStore("livechat:", () => browser);
  store.set("a:1", { text: "x" });
  store.set("a:2", [1]);
  assert.deepEqual([...browser.values.keys()], ["other", "livechat:a:1", "livechat:a:2"]);
  assert.deepEqual(store.get("a:1"), { text: "x" });
  assert.equal(store.get("b"), null);
  assert.deepEqual(store.keys("a:"), ["a:1", "a:2"]);
  store.remove("a:1");
  assert.deepEqual(store.keys(), ["a:2"]);
});

test("a storage that is blocked is replaced by memory", () => {
  const store = new LocalStore("livechat:", blocked);
  store.set("a", 1);
  assert.equal(store.get("a"), 1);
  assert.deepEqual(store.keys(), ["a"]);
  store.remove("a");
  assert.equal(store.get("a"), null);
});

test("a storage that is full is replaced by memory until it takes the value", () => {
  const browser = area();
  const store = new LocalStore("livechat:", () => browser);
  store.set("a", "old");
  const { setItem } = browser;
  browser.setItem = blocked;
  store.set("a", "new");
  assert.equal(store.get("a"), "new");
  browser.setItem = setItem;
  store.set("a", "newest");
  assert.equal(new LocalStore("livechat:", () => browser).get("a"), "newest");
});

test("what another program has written there is no value", () => {
  const browser = area();
  browser.setItem("livechat:a", "{broken");
  assert.equal(new LocalStore("livechat:", () => browser).get("a"), null);
});

test("changes of another tab are reported by their key", (context) => {
  const { window } = useBrowser(context);
  const store = new LocalStore("livechat:", area);
  /** @type {string[]} */
  const changed = [];
  const stop = store.onChange((key) => changed.push(key));
  for (const key of ["livechat:a", "other", null]) window.dispatchEvent(Object.assign(new Event("storage"), { key }));
  stop();
  window.dispatchEvent(Object.assign(new Event("storage"), { key: "livechat:b" }));
  assert.deepEqual(changed, ["a"]);
});

test("drafts belong to an account, and a visitor's first message comes along", (context) => {
  useBrowser(context);
  const session = area();
  Object.defineProperty(globalThis, "sessionStorage", { value: session, configurable: true });
  context.after(() => Reflect.deleteProperty(globalThis, "sessionStorage"));
  const drafts = new Drafts(new LocalStore("livechat:", area));
  const browser = area();
  drafts.storage = new LocalStore("livechat:", () => browser);

  drafts.set("new", { message: "Before" });
  drafts.set("c1", "a visitor has no chats");
  assert.equal(drafts.get("c1"), "");
  assert.equal(session.length, 1);
  assert.equal(drafts.open("ana"), true);
  assert.deepEqual(drafts.get("new"), { message: "Before" });
  assert.equal(session.length, 0);

  drafts.set("c1", "Ana's");
  assert.equal(drafts.open("ben"), false);
  assert.equal(drafts.get("c1"), "");
  drafts.open("ana");
  assert.equal(drafts.get("c1"), "Ana's");
  drafts.set("c1", "");
  assert.deepEqual(drafts.storage.keys("draft:ana:c1"), []);
});
