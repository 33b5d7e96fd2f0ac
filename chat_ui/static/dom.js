/** Builds elements; data only ever becomes text nodes and attributes, never markup. */

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "disabled", "hidden", "checked", "inert", "textContent", "htmlFor", "tabIndex"]);

/**
 * Make an element: `h("button", { class: "primary", onclick: send }, "Send")`.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any> | null} [props]
 * @param {...any} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) Object.assign(element, { [name]: value });
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * Make a decorative icon of 24 by 24 units out of path data.
 *
 * @param {...string} paths
 */
export function svg(...paths) {
  const element = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" })) {
    element.setAttribute(name, value);
  }
  for (const data of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", data);
    element.append(path);
  }
  return element;
}

/**
 * Text for screen readers only.
 *
 * @param {string} text
 */
export function spoken(text) {
  return h("span", { class: "visually-hidden" }, text);
}

/**
 * While an input method composes, keys are its own; Safari says so only by code 229.
 *
 * @param {KeyboardEvent} event
 */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

/**
 * Show a spinner in a button until `work` has ended; what is pressed meanwhile does nothing.
 * It is not `disabled`: a disabled button would lose the focus to the page.
 *
 * @template Result
 * @param {Element} button
 * @param {() => Promise<Result>} work
 * @returns {Promise<Result | undefined>}
 */
export async function busy(button, work) {
  if (isBusy(button)) return undefined;
  button.setAttribute("aria-disabled", "true");
  button.setAttribute("aria-busy", "true");
  try {
    return await work();
  } finally {
    button.removeAttribute("aria-disabled");
    button.removeAttribute("aria-busy");
  }
}

/** @param {Element} button */
export function isBusy(button) {
  return button.hasAttribute("aria-busy");
}

/**
 * Return the element that has the focus, in the page or shadow tree that `element` is in.
 *
 * @param {Element} element
 */
export function activeElement(element) {
  return /** @type {Document | ShadowRoot} */ (element.getRootNode()).activeElement;
}
