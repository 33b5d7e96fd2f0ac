/** What every module needs: finding things, and the page's CSRF token. */

const PATIENCE = 15_000;

export const byId = (id) => document.getElementById(id);

export const agent = () => document.body.dataset.agent;

export const csrf = () => document.body.dataset.csrf;

/** Give a new CSRF token to the page and to every form that is on it already. */
export function setCsrf(token) {
  document.body.dataset.csrf = token;
  for (const field of document.querySelectorAll("input[name=csrf_token]")) field.value = token;
}

/** Call `act` with the element that an answer was put into, each time. */
export function afterSwap(act) {
  document.addEventListener("htmx:after:settle", (event) => act(event.detail.task.target));
}

/** Send a small form, as the page's own forms are sent. */
export function post(address, fields) {
  return fetch(address, {
    method: "POST",
    body: new URLSearchParams({ ...fields, csrf_token: csrf() }),
    headers: { "HX-Request": "true", "HX-Request-Type": "partial" },
    keepalive: true,
    signal: AbortSignal.timeout(PATIENCE),
  });
}

/** Say something to people who listen to the page. */
export function announce(text) {
  const place = byId("news");
  if (place) place.textContent = text;
}
