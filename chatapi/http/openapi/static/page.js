/**
 * The documentation's conveniences: a filter of the contents, buttons that copy commands, and a mark
 * of the section that is being read. Without this script everything can be read all the same.
 */

const COPIED_MS = 2000;
/** How far below the top of the window a section counts as being read, in pixels. */
const READING_LINE = 100;

const contents = [...document.querySelectorAll("nav[data-contents]")];
const copyStatus = /** @type {HTMLElement} */ (document.querySelector("#copy-status"));

/** @param {Element} list */
function entries(list) {
  return /** @type {HTMLElement[]} */ ([...list.querySelectorAll("li[data-find]")]);
}

// The filter

for (const nav of contents) {
  const form = /** @type {HTMLFormElement} */ (nav.querySelector("form"));
  const input = /** @type {HTMLInputElement} */ (form.querySelector("input"));
  const result = /** @type {HTMLOutputElement} */ (form.querySelector("output"));
  form.hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = entries(nav).filter((entry) => {
      const text = entry.dataset.find ?? "";
      entry.hidden = !words.every((word) => text.includes(word));
      return !entry.hidden;
    });
    for (const group of /** @type {NodeListOf<HTMLElement>} */ (nav.querySelectorAll("li[data-group]"))) {
      group.hidden = !group.querySelector("li:not([hidden])");
    }
    result.value = words.length ? `${found.length} of ${entries(nav).length} shown` : "";
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    /** @type {HTMLElement | null} */ (nav.querySelector("li[data-find]:not([hidden]) > a"))?.click();
  });
}

// The menu of small screens closes when a section is chosen.

const menu = /** @type {HTMLDetailsElement} */ (document.querySelector(".menu"));
menu.addEventListener("click", (event) => {
  if (event.target instanceof Element && event.target.closest("nav a")) menu.open = false;
});
menu.addEventListener("toggle", () => showInContents());

// Copying

/** @param {HTMLElement} source */
async function copy(source) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(source.textContent ?? "");
    return;
  }
  // Over plain HTTP there is no clipboard; what is selected can be copied.
  getSelection()?.selectAllChildren(source);
  if (!document.execCommand("copy")) throw new Error("nothing was copied");
}

for (const block of document.querySelectorAll("[data-copy]")) {
  const source = /** @type {HTMLElement} */ (block.querySelector("code"));
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy the command of ${block.getAttribute("data-copy")}`);
  button.addEventListener("click", async () => {
    const said = await copy(source).then(() => "Copied", () => "Not copied");
    button.textContent = said;
    copyStatus.textContent = said === "Copied" ? "The command was copied." : "The command was not copied. Select it and copy it.";
    setTimeout(() => {
      button.textContent = "Copy";
      copyStatus.textContent = "";
    }, COPIED_MS);
  });
  block.append(button);
}

// The mark of the current section

/** @type {Map<string, HTMLAnchorElement[]>} */
const links = new Map();
for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll("nav[data-contents] a"))) {
  const id = link.hash.slice(1);
  links.set(id, [...(links.get(id) ?? []), link]);
}
const sections = [...document.querySelectorAll("main, h2[id], h3[id]")];
let marked = "";

/** Return the id of the last section that begins above the reading line. */
function currentSection() {
  const chosen = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const root = document.documentElement;
  // The last sections cannot reach the line.
  const isAtEnd = root.scrollTop + root.clientHeight >= root.scrollHeight - 2;
  const top = chosen?.getBoundingClientRect().top ?? -1;
  if (chosen && isAtEnd && top >= 0 && top < root.clientHeight) return chosen.id;
  let low = 0;
  let high = sections.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (sections[middle].getBoundingClientRect().top <= READING_LINE) low = middle;
    else high = middle - 1;
  }
  return sections[low].id;
}

function mark() {
  const id = currentSection();
  if (id === marked) return;
  for (const link of links.get(marked) ?? []) link.removeAttribute("aria-current");
  marked = id;
  for (const link of links.get(id) ?? []) link.setAttribute("aria-current", "location");
  showInContents();
}

/** Scroll the contents, and nothing else, so that the marked entry is in view. */
function showInContents() {
  for (const link of links.get(marked) ?? []) {
    const box = /** @type {HTMLElement} */ (link.closest("nav"));
    if (!box.contains(document.activeElement) && !box.matches(":hover")) {
      const [inside, around] = [link.getBoundingClientRect(), box.getBoundingClientRect()];
      if (inside.top < around.top || inside.bottom > around.bottom) {
        box.scrollTop += inside.top - around.top - around.height / 3;
      }
    }
  }
}

let isPlanned = false;
function planMark() {
  if (isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(() => {
    isPlanned = false;
    mark();
  });
}

for (const event of ["scroll", "resize", "hashchange"]) addEventListener(event, planMark, { passive: true });
mark();

export {};
