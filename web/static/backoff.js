/** How long to wait before the next attempt. */

const MAX_DELAY = 60_000;
/** From here on the delay does not double any more. */
const MAX_DOUBLINGS = 6;

/**
 * Return the milliseconds to wait after `failures` in a row: doubling from `base`, never sooner
 * than the server asked for, spread out so that a thousand clients do not return together.
 *
 * @param {number} failures at least 1
 * @param {number} base milliseconds after the first failure
 * @param {object} [options]
 * @param {number | null} [options.retryAfter] the seconds that the server asked for
 * @param {number} [options.max] the longest delay in milliseconds
 */
export function backoff(failures, base, { retryAfter = null, max = MAX_DELAY } = {}) {
  const grown = Math.min(max, base * 2 ** Math.min(failures - 1, MAX_DOUBLINGS));
  const spread = grown * (0.5 + Math.random() * 0.5);
  return retryAfter === null ? spread : Math.max(spread, retryAfter * 1000 * (1 + Math.random() * 0.2));
}
