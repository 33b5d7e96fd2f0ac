/** Requests of the chat: what they carry, and how answers and failures are distinguished. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Api, ApiError, BearerAuth, CookieAuth, IdentityChanged, NetworkError } from "../../../chat_ui/static/api.js";
import { settle, useBrowser } from "../browser.js";
import { as } from "./fakes.js";

/** An answer that does not come. @type {Promise<any>} */
const never = new Promise(() => {});

/** @typedef {{ status?: number, body?: unknown, headers?: Record<string, string> }} Reply */

/**
 * @param {import("node:test").TestContext} context
 * @param {(url: string, init: any) => Reply | Promise<Reply>} answer
 */
function make(context, answer, auth = /** @type {any} */ (new BearerAuth(as({ get: () => ({ token: "secret" }) })))) {
  const { clock } = useBrowser(context);
  /** @type {any[]} */
  const requests = [];
  context.mock.method(globalThis, "fetch", async (/** @type {string} */ url, /** @type {any} */ init) => {
    requests.push({ url, ...init });
    const aborted = new Promise((_, reject) => { init.signal.addEventListener("abort", () => reject(init.signal.reason)); });
    const { status = 200, body = null, headers = {} } = /** @type {Reply} */ (await Promise.race([answer(url, init), aborted]));
    const text = body === null ? null : typeof body === "string" ? body : JSON.stringify(body);
    return new Response([204, 304].includes(status) ? null : text, { status, headers });
  });
  const api = new Api("https://chat.example", auth);
  /** @type {string[]} */
  const contacts = [];
  api.onContact = (contact) => contacts.push(contact);
  return { api, requests, contacts, clock };
}

test("an answer is asked for by its ETag and kept from the browser's cache", async (context) => {
  const { api, requests } = make(context, (_, { headers }) => (headers["If-None-Match"] ? { status: 304 } : { body: [1], headers: { ETag: '"1"' } }));
  const first = await api.get("/api/chat");
  assert.deepEqual([first.status, first.data, first.etag], [200, [1], '"1"']);
  const second = await api.get("/api/chat", { etag: first.etag });
  assert.deepEqual([second.status, second.data, second.etag], [304, null, '"1"']);
  assert.deepEqual(requests.map(({ url, method, cache }) => [url, method, cache]), Array(2).fill(["https://chat.example/api/chat", "GET", "no-store"]));
});

test("a token is sent as a header and never with cookies", async (context) => {
  const { api, requests } = make(context, () => ({ status: 201, body: {} }));
  await api.post("/api/chat", { subject: "x" });
  const [{ headers, credentials, body }] = requests;
  assert.deepEqual([headers.Authorization, headers["Content-Type"], credentials, body], ["Bearer secret", "application/json", "omit", '{"subject":"x"}']);
  assert.deepEqual(api.auth.protocols(), ["chat.v1", "bearer.secret"]);
});

test("with a cookie a changing request carries a CSRF token, which is renewed when it is refused", async (context) => {
  let token = "one";
  const { api, requests } = make(context, (url, { headers }) => {
    if (url.endsWith("/csrf")) return { body: { csrfToken: token } };
    if (headers["X-CSRF-Token"] === "one") {
      token = "two";
      return { status: 403, body: { code: "csrf_failed" } };
    }
    return { body: {} };
  }, new CookieAuth());
  await api.post("/api/chat");
  await api.post("/api/chat");
  assert.deepEqual(requests.map(({ url, headers }) => [url.split("/").at(-1), headers["X-CSRF-Token"]]), [
    ["csrf", undefined], ["chat", "one"], ["csrf", undefined], ["chat", "two"], ["chat", "two"],
  ]);
  assert.equal(requests[0].credentials, "same-origin");
});

test("nothing is written in the name of another account that the cookie belongs to by now", async (context) => {
  const { api, requests } = make(context, (url) => ({ body: url.endsWith("/csrf") ? { csrfToken: "x" } : { _id: "ben" } }), new CookieAuth());
  let changed = 0;
  api.expectedUser = "ana";
  api.onIdentityChanged = () => { changed += 1; };
  await assert.rejects(api.post("/api/chat"), IdentityChanged);
  assert.equal(changed, 1);
  assert.deepEqual(requests.map(({ method }) => method), ["GET", "GET"]);
});

test("a problem is an error with its code, fields and the time to wait", async (context) => {
  /** @type {Reply} */
  let reply = { status: 429, body: { code: "too_many_requests", detail: "Slower." }, headers: { "Retry-After": "7" } };
  const { api } = make(context, () => reply);
  const failure = async () => /** @type {ApiError} */ (await api.get("/x").catch((error) => error));
  let error = await failure();
  assert.ok(error instanceof ApiError);
  assert.deepEqual([error.status, error.code, error.message, error.retryAfter, error.temporary, error.unavailable], [429, "too_many_requests", "Slower.", 7, true, false]);

  reply = { status: 503, headers: { "Retry-After": new Date(Date.now() + 5000).toUTCString() }, body: "<html>" };
  error = await failure();
  assert.deepEqual([error.message, error.retryAfter, error.unavailable, error.temporary], ["The server answered with an error (503).", 5, true, true]);

  reply = { status: 422, body: { fields: { name: ["Missing."] } }, headers: { "Retry-After": "soon" } };
  error = await failure();
  assert.deepEqual([error.fields, error.retryAfter, error.temporary, error.signedOut], [{ name: ["Missing."] }, null, false, false]);

  reply = { status: 401, body: { code: "unauthorized" } };
  assert.equal((await failure()).signedOut, true);
  reply = { status: 401, body: { code: "wrong_credentials" } };
  assert.equal((await failure()).signedOut, false);
});

test("reading requests tell whether the service can be reached, writing ones say too little", async (context) => {
  /** @type {Reply | Error} */
  let reply = {};
  const { api, contacts } = make(context, () => {
    if (reply instanceof Error) throw reply;
    return reply;
  });
  await api.get("/x");
  reply = { status: 502 };
  await assert.rejects(api.get("/x"), ApiError);
  reply = new TypeError("Failed to fetch");
  await assert.rejects(api.get("/x"), NetworkError);
  await assert.rejects(api.post("/x"), NetworkError);
  assert.deepEqual(contacts, ["ok", "unavailable", "offline"]);
});

test("no answer within twenty seconds is none", async (context) => {
  const { api, contacts, clock } = make(context, () => never);
  const request = api.get("/x");
  await settle();
  clock.tick(19_999);
  await settle();
  assert.deepEqual(contacts, []);
  clock.tick(1);
  await assert.rejects(request, NetworkError);
  assert.deepEqual(contacts, ["offline"]);
});

test("the request that ends the session gives every other one up, and none begins beside it", async (context) => {
  /** @type {() => void} */
  let finish = () => undefined;
  const { api, contacts, requests } = make(context, (url) => {
    if (!url.endsWith("logout")) return never;
    return new Promise((resolve) => { finish = () => resolve({ status: 204 }); });
  });
  const poll = api.get("/api/chat");
  await settle();
  const leaving = api.post("/api/auth/logout", {}, { last: true });
  await assert.rejects(poll, NetworkError);
  await settle();
  await assert.rejects(api.get("/api/chat"), NetworkError);
  assert.deepEqual(contacts, []);
  finish();
  assert.equal((await leaving).status, 204);
  assert.equal(requests.length, 2);
});
