/** What every module needs: finding elements, and the page's CSRF token. */

/** @import { ElementsById } from "../../web/types/console.d.ts" */

const TIMEOUT = 15_000;

/**
 * Return an element of the page, or null.
 *
 * @template {string} Id
 * @param {Id} id
 * @returns {(Id extends keyof ElementsById ? ElementsById[Id] : HTMLElement) | null}
 */
export function byId(id) {
  return /** @type {any} */ (document.getElementById(id));
}

/**
 * Return an element that the page has where this is called. Throws when it has not.
 *
 * @template {string} Id
 * @param {Id} id
 */
export function required(id) {
  const found = byId(id);
  if (!found) throw new Error(`The page has no #${id}.`);
  return found;
}

export const agent = () => document.body.dataset.agent ?? "";

export const csrf = () => document.body.dataset.csrf ?? "";

/**
 * Give a new CSRF token to the page and to every form that is on it already.
 *
 * @param {string} token
 */
export function setCsrf(token) {
  document.body.dataset.csrf = token;
  /** @type {NodeListOf<HTMLInputElement>} */
  const fields = document.querySelectorAll("input[name=csrf_token]");
  for (const field of fields) field.value = token;
}

/**
 * Call `act` with the element that an answer was put into, each time.
 *
 * @param {(target: Element) => void} act
 */
export function afterSwap(act) {
  document.addEventListener("htmx:after:settle", (event) => act(event.detail.task.target));
}

/**
 * Send a small form, as the page's own forms are sent.
 *
 * @param {string} address
 * @param {Record<string, string>} fields
 */
export function post(address, fields) {
  return fetch(address, {
    method: "POST",
    body: new URLSearchParams({ ...fields, csrf_token: csrf() }),
    headers: { "HX-Request": "true", "HX-Request-Type": "partial" },
    keepalive: true,
    signal: AbortSignal.timeout(TIMEOUT),
  });
}

/**
 * Say something to people who listen to the page.
 *
 * @param {string} text
 */
export function announce(text) {
  const place = byId("news");
  if (place) place.textContent = text;
}
