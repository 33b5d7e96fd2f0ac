/**
 * When the page is refreshed: every few seconds, rarely while updates come in live, at once when
 * something says that there may be more, and carefully after failures.
 */

import { Emitter } from "../../web/static/emitter.js";

/**
 * WAITING    for the time of the next round          refresh: RUNNING
 * RUNNING    a round is on its way                   end: WAITING; refresh: REPEATING
 * REPEATING  one is, and another comes right after   end: RUNNING
 * PAUSED     the session is ending                   time: WAITING
 *
 * @enum {string}
 */
export const RefreshState = Object.freeze({ WAITING: "waiting", RUNNING: "running", REPEATING: "repeating", PAUSED: "paused" });

const VISIBLE = 3000;
const HIDDEN = 30_000;
/** While updates come in live, polling only makes sure. */
const LIVE = 45_000;
const LIVE_HIDDEN = 120_000;
/** Several events of one cause come together. */
const DEBOUNCE = 30;
/** Between two refreshes that events lead to; it grows while they keep coming. */
const GAP = 150;
export const MAX_GAP = 1000;
const GAP_GROWTH = 1.4;
const HIDDEN_GAP = 2000;
const MAX_DELAY = 30_000;
const TIMEOUT = 15_000;
/** When connections have been found dead, others that the browser keeps may be as well. */
const FAST_TIMEOUT = 2000;
const MAX_DEAD_CONNECTIONS = 6;

/**
 * @typedef {object} Round
 * @property {AbortSignal} signal
 * @property {number} timeout of each request, in milliseconds
 * @property {boolean} isCertain whether the server has to look, instead of answering from memory
 */

/**
 * Emits "done" ({wasLost}: whether the round before failed) and "failed" (the error).
 */
export class RefreshSchedule extends Emitter {
  /** @type {string} */
  state = RefreshState.WAITING;
  isLive = false;
  #failures = 0;
  /** So many rounds more have a short timeout. */
  #fastRounds = 0;
  /** For so many milliseconds the server wants to be left alone. */
  #wait = 0;
  #gap = GAP;
  #eventRefreshAt = 0;
  /** Whether the next round has to be certain. */
  #isCertain = false;
  #abort = new AbortController();
  /** @type {Promise<void>} */
  #running = Promise.resolve();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pauseTimer;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #eventTimer = null;
  #options;

  /**
   * @param {object} options
   * @param {(round: Round) => Promise<void>} options.run does one round; its error may carry `seconds` to wait
   * @param {() => boolean} options.isBlocked whether a round makes no sense just now
   * @param {() => number} options.deferral milliseconds after which a part that was left out is due, or 0
   */
  constructor(options) {
    super();
    this.#options = options;
  }

  /** Whether the server answered the last time. */
  get isReachable() {
    return this.#failures === 0;
  }

  /**
   * Do a round now, or once more after the one that runs.
   *
   * @param {object} [options]
   * @param {boolean} [options.isCertain] because something has just been changed
   * @param {boolean} [options.abortPending] give up what is being fetched: its connection may be dead
   * @returns {Promise<void>} until no round is left to do
   */
  refresh({ isCertain = false, abortPending = false } = {}) {
    this.#isCertain ||= isCertain;
    if (abortPending) this.#fastRounds = MAX_DEAD_CONNECTIONS;
    if (this.state === RefreshState.PAUSED) return Promise.resolve();
    if (this.state !== RefreshState.WAITING) {
      this.state = RefreshState.REPEATING;
      if (abortPending) this.#abort.abort();
      return this.#running;
    }
    clearTimeout(this.#timer);
    this.state = RefreshState.RUNNING;
    this.#abort = new AbortController();
    this.#running = this.#round().finally(() => this.#ended());
    return this.#running;
  }

  /** An event says that there is more: refresh at once, but in a burst only now and then. */
  scheduleRefresh() {
    if (this.#eventTimer || this.#wait) return;
    const ago = Date.now() - this.#eventRefreshAt;
    this.#gap = ago > 2 * MAX_GAP ? GAP : Math.min(MAX_GAP, this.#gap * GAP_GROWTH);
    const pause = (document.hidden ? HIDDEN_GAP : this.#gap) - ago;
    this.#eventTimer = setTimeout(() => {
      this.#eventTimer = null;
      this.#eventRefreshAt = Date.now();
      this.refresh();
    }, Math.max(DEBOUNCE, pause));
  }

  /**
   * Updates come in live from now on, or not any more: poll rarely, or often.
   *
   * @param {boolean} isLive
   */
  pace(isLive) {
    this.isLive = isLive;
    this.schedule();
  }

  /** Wait for the next round as long as it has to be now. */
  schedule() {
    if (this.state !== RefreshState.WAITING) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), Math.max(this.#delay(), this.#wait));
  }

  /** Ask nothing for a while: the session ends before the next page is here. */
  pause() {
    this.#abort.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#pauseTimer);
    this.state = RefreshState.PAUSED;
    this.#pauseTimer = setTimeout(() => {
      this.state = RefreshState.WAITING;
      this.schedule();
    }, TIMEOUT);
  }

  #delay() {
    const deferral = this.#options.deferral();
    if (deferral) return deferral;
    if (this.#failures) {
      if (this.#fastRounds) return 0;
      return Math.min(MAX_DELAY, VISIBLE * 2 ** (this.#failures - 1)) * (0.8 + Math.random() * 0.4);
    }
    if (this.isLive) return (document.hidden ? LIVE_HIDDEN : LIVE) * (0.9 + Math.random() * 0.2);
    return document.hidden ? HIDDEN : VISIBLE;
  }

  #ended() {
    const isRepeated = this.state === RefreshState.REPEATING;
    if (this.state === RefreshState.PAUSED) return undefined;
    this.state = RefreshState.WAITING;
    return isRepeated ? this.refresh() : this.schedule();
  }

  async #round() {
    if (this.#options.isBlocked()) return;
    const isCertain = this.#isCertain;
    this.#isCertain = false;
    const { signal } = this.#abort;
    try {
      await this.#options.run({ signal, timeout: this.#fastRounds ? FAST_TIMEOUT : TIMEOUT, isCertain });
      const wasLost = this.#failures > 0;
      this.#failures = 0;
      this.#fastRounds = 0;
      this.#wait = 0;
      this.emit("done", { wasLost });
    } catch (error) {
      if (signal.aborted) return;
      this.#failures = this.#fastRounds ? 1 : this.#failures + 1;
      this.#fastRounds = Math.max(0, this.#fastRounds - 1);
      const { seconds = 0 } = /** @type {{ seconds?: number }} */ (error);
      this.#wait = seconds * 1000;
      this.emit("failed", error);
    }
  }
}
