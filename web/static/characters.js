/** Characters and sentences as a reader sees them. */

/**
 * Return what a reader sees as one character each: neither an accent nor a joined emoji is cut off.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function characters(text) {
  return segments(text, "grapheme") ?? [...text];
}

/**
 * Return a text's parts; null in a browser that cannot tell where they end.
 *
 * @param {string} text
 * @param {"grapheme" | "sentence"} granularity
 */
export function segments(text, granularity) {
  if (!Intl.Segmenter) return null;
  return [...new Intl.Segmenter(undefined, { granularity }).segment(text)].map(({ segment }) => segment);
}
