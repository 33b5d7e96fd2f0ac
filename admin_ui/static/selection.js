/** Choosing several chats. What is chosen is what is ticked and on the screen. */

import { afterSwap, byId } from "./page.js";
import { rescueFocus } from "./rows.js";

/** The id of the box that was clicked last. @type {string | null} */
let last = null;

/** @type {() => HTMLInputElement[]} */
const boxes = () => [.../** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("#rows input[name=ids]"))];

function show() {
  const bar = byId("bulk");
  if (!bar) return;
  const all = boxes();
  const picked = all.filter((box) => box.checked).length;
  bar.classList.toggle("open", picked > 0);
  rescueFocus();
  const number = bar.querySelector("[data-picked]");
  if (number) number.textContent = String(picked);
  const head = /** @type {HTMLInputElement | null} */ (document.querySelector("[data-pick-all]"));
  if (!head) return;
  head.checked = picked > 0 && picked === all.length;
  head.indeterminate = picked > 0 && picked < all.length;
}

/** Untick all; false if nothing was ticked. */
export function deselect() {
  const some = boxes().some((box) => box.checked);
  if (some) pick(false);
  return some;
}

/** @param {boolean} checked */
function pick(checked) {
  for (const box of boxes()) box.checked = checked;
  show();
}

/**
 * Tick everything between the last box clicked and this one.
 *
 * @param {HTMLInputElement} box
 */
function pickRange(box) {
  const all = boxes();
  const [from, to] = [all.findIndex((each) => each.id === last), all.indexOf(box)].sort((a, b) => a - b);
  if (from < 0) return;
  for (const each of all.slice(from, to + 1)) each.checked = box.checked;
}

export function watchSelection() {
  document.addEventListener("click", (event) => {
    const box = event.target;
    if (box instanceof HTMLInputElement && box.name === "ids") {
      if (event.shiftKey && last) pickRange(box);
      last = box.id;
      show();
    }
    if (box.closest("[data-deselect]")) pick(false);
    /** @type {NodeListOf<HTMLDetailsElement>} */
    const menus = document.querySelectorAll("details.menu[open]");
    for (const menu of menus) {
      if (!menu.contains(box) || box.closest("button")) menu.open = false;
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) pick(event.target.checked);
    else if (event.target.name === "ids") show();
  });
  // With Shift held the browser would mark the text between.
  document.addEventListener("mousedown", (event) => event.shiftKey && event.target.closest(".pick") && event.preventDefault());
  document.addEventListener("console:deselect", () => pick(false));
  afterSwap(show);
  show();
}
