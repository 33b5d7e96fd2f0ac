/** Form fields with their label, hint and error message; forms that show the API's refusals. */

/** @import { App } from "../../../web/types/chat.d.ts" */

import { ApiError } from "../api.js";
import { busy, h, isBusy } from "../dom.js";
import { icon } from "../icons.js";
import { capital, length } from "../text.js";

let count = 0;

/**
 * @typedef {object} FieldOptions What is not named here becomes an attribute of the control.
 * @property {string} name
 * @property {string} label
 * @property {string | Node} [hint]
 * @property {"input" | "textarea" | "select"} [control]
 * @property {boolean} [optional]
 * @property {() => number} [limit] the longest text
 * @property {[string, string][]} [options] of a select: values and texts
 * @property {string} [value]
 * @property {string} [type]
 * @property {string} [autocomplete]
 * @property {string} [inputmode]
 * @property {string} [dir]
 * @property {string} [placeholder]
 * @property {number} [rows]
 */

/**
 * @typedef {object} FormOptions
 * @property {Field[]} fields
 * @property {string} label
 * @property {string} action what the button says
 * @property {(values: any) => Promise<unknown>} submit with the value of each field by its name
 * @property {Node | null} [before]
 * @property {string | null} [note]
 */

/** A labelled input, textarea or select; `error(text)` shows a message beside it. */
export class Field {
  /** @param {FieldOptions} options */
  constructor({ name, label, hint, control = "input", optional = false, limit = () => Infinity, options = [], ...attributes }) {
    count += 1;
    const id = `chat-field-${count}`;
    this.name = name;
    this.label = label;
    this.optional = optional;
    this.limit = limit;
    this.control = /** @type {HTMLInputElement} */ (h(control, { id, name, class: "control", ...attributes }));
    if (!optional) this.control.setAttribute("required", "");
    this.offer(options);
    this.problem = h("p", { class: "field-error", id: `${id}-error`, hidden: true });
    const described = [`${id}-error`];
    if (hint) described.unshift(`${id}-hint`);
    this.control.setAttribute("aria-describedby", described.join(" "));
    this.control.addEventListener("input", () => this.error(""));
    this.element = h(
      "div",
      { class: "field" },
      h("label", { for: id }, label, optional ? h("span", { class: "optional" }, " (optional)") : null),
      this.control,
      hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null,
      this.problem,
    );
  }

  get value() {
    return this.control.value;
  }

  set value(text) {
    this.control.value = text;
  }

  /**
   * Offer these choices, each a value and its text.
   *
   * @param {[string, string][]} options
   */
  offer(options) {
    for (const [value, text] of options) this.control.append(h("option", { value }, text));
  }

  /** @param {string} text */
  error(text) {
    this.problem.replaceChildren(...(text ? [icon("alert"), h("span", {}, text)] : []));
    this.problem.hidden = !text;
    if (text) this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
  }

  /** What can be seen to be wrong without asking the server, or an empty text. */
  check() {
    const { validity } = this.control;
    if (validity.valueMissing || (!this.optional && this.value.trim() === "")) return `${this.label} is missing.`;
    const limit = this.limit();
    const over = length(this.value.trim()) - limit;
    if (over > 0) return `At most ${limit.toLocaleString()} characters, please: this is ${over.toLocaleString()} too long.`;
    if (validity.typeMismatch) return "This does not look like an e-mail address.";
    return "";
  }
}

/**
 * A form of `fields` that calls `submit(values)` and shows what is refused where it belongs.
 *
 * @param {FormOptions} options
 */
export function form({ fields, label, action, submit, before = null, note = null }) {
  const button = h("button", { type: "submit", class: "button primary wide" }, h("span", {}, action));
  const alert = h("div", { class: "form-error", role: "alert", hidden: true });

  const show = (/** @type {string | null} */ content) => {
    alert.replaceChildren(...(content ? [icon("alert"), h("div", {}, content)] : []));
    alert.hidden = !content;
  };
  const refuse = (/** @type {Record<string, string>} */ errors) => {
    const wrong = fields.filter((field) => errors[field.name]);
    for (const field of wrong) field.error(errors[field.name]);
    wrong[0]?.control.focus();
    return wrong.length > 0;
  };

  const element = h(
    "form",
    {
      class: "form",
      novalidate: true,
      "aria-label": label,
      onsubmit: async (/** @type {SubmitEvent} */ event) => {
        event.preventDefault();
        if (isBusy(button)) return;
        show(null);
        for (const field of fields) field.error("");
        if (refuse(Object.fromEntries(fields.map((field) => [field.name, field.check()])))) return;
        const values = Object.fromEntries(fields.map((field) => [field.name, field.value]));
        try {
          await busy(button, () => submit(values));
        } catch (caught) {
          const error = /** @type {ApiError} */ (caught);
          if (!(caught instanceof ApiError) && !error.temporary) {
            console.error(error);
            show("Something went wrong. Please try again.");
          } else if (!refuse(fieldErrors(error, fields))) show(explain(error));
        }
      },
    },
    before,
    alert,
    ...fields.map((field) => field.element),
    button,
    note ? h("p", { class: "note" }, note) : null,
  );
  return { element, button, show };
}

/**
 * The hint of a new password: how long it must be, once the API has said so.
 *
 * @param {App} app
 */
export function passwordHint(app) {
  const hint = h("span", {}, "A sentence is a good password.");
  app.configLoaded.then(({ limits }) => {
    hint.textContent = `At least ${limits.passwordMin} characters; a sentence is a good password.`;
  });
  return hint;
}

/**
 * The refusals of the fields that are in this form, by name.
 *
 * @param {ApiError} error
 * @param {Field[]} fields
 */
function fieldErrors(error, fields) {
  const known = new Set(fields.map((field) => field.name));
  const named = error instanceof ApiError && error.code === "email_taken" ? { email: [error.message] } : (error.fields ?? {});
  return Object.fromEntries(
    Object.entries(named)
      .filter(([name]) => known.has(name))
      .map(([name, texts]) => [name, capital([texts].flat().join(" "))]),
  );
}

/**
 * An error in words for the reader.
 *
 * @param {ApiError} error
 */
export function explain(error) {
  if (error.status === 429 && error.retryAfter) {
    const wait = Math.ceil(error.retryAfter);
    return `${error.message} (${wait < 90 ? `${wait} seconds` : `${Math.ceil(wait / 60)} minutes`})`;
  }
  return error.message;
}
