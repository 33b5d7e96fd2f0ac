/**
 * JSON on pages with old libraries: Prototype.js gives lists a toJSON, with which
 * JSON.stringify writes each list as a text.
 *
 * @param {unknown} value
 */
export function encode(value) {
  return JSON.stringify(value, function (key, changed) {
    return Array.isArray(this[key]) ? this[key] : changed;
  });
}
