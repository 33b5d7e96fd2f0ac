/** A person's picture, or their initials while and where there is none. */

/** @import { App } from "../../../web/types/chat.d.ts" */

import { initials } from "../../../web/static/initials.js";
import { h } from "../dom.js";
import { imageAddress } from "../text.js";

const COLOURS = 6;

/**
 * Decorative: the name always stands beside it. Which hosts may send a picture is known when
 * the API has answered; until then there are initials, which take the same room.
 *
 * @param {string} name
 * @param {string | null | undefined} image
 * @param {App} app
 */
export function avatar(name, image, app) {
  const element = h("span", { class: `avatar avatar-${colour(name)}`, "aria-hidden": "true" }, initials(name));
  if (image) app.configLoaded.then(({ imageHosts }) => addPicture(element, imageAddress(image, app.api.origin, imageHosts)));
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {string | null} address
 */
function addPicture(element, address) {
  if (address) {
    const picture = h("img", { alt: "", width: 40, height: 40, decoding: "async", referrerpolicy: "no-referrer" });
    // The initials stay below until the picture is there, and for good when it is broken.
    picture.addEventListener("load", () => picture.classList.add("loaded"));
    picture.addEventListener("error", () => picture.remove());
    picture.src = address;
    element.append(picture);
  }
}

/** @param {string | null | undefined} name */
function colour(name) {
  let sum = 0;
  for (const character of String(name ?? "")) sum = (sum * 31 + Number(character.codePointAt(0))) % 9973;
  return sum % COLOURS;
}
