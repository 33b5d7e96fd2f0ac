/** Repeats one task: often while it is looked at, rarely otherwise, carefully after errors. */

import { backoff } from "../../web/static/backoff.js";

export class Poller {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #running = false;
  #again = false;
  #started = false;
  #failures = 0;

  /**
   * `task` is async and throws when it failed; its error may carry `retryAfter` in seconds.
   * `interval(failed)` returns the milliseconds to the next round.
   *
   * @param {() => Promise<void>} task
   * @param {(failed?: boolean) => number} interval
   */
  constructor(task, interval) {
    this.task = task;
    this.interval = interval;
    this.visibility = () => (document.hidden ? this.#schedule(this.interval()) : this.now());
    this.wake = () => this.now();
  }

  start() {
    if (this.#started) return;
    this.#started = true;
    document.addEventListener("visibilitychange", this.visibility);
    window.addEventListener("online", this.wake);
    window.addEventListener("pageshow", this.wake);
    this.now();
  }

  stop() {
    this.#started = false;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.visibility);
    window.removeEventListener("online", this.wake);
    window.removeEventListener("pageshow", this.wake);
  }

  /** Run the task at once; if it is running, once more after it. */
  async now() {
    if (!this.#started) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#running = true;
    let wait;
    try {
      await this.task();
      this.#failures = 0;
      wait = this.interval() * (0.95 + Math.random() * 0.1);
    } catch (reason) {
      const error = /** @type {{ retryAfter?: number | null }} */ (reason);
      this.#failures += 1;
      this.#again = false;
      wait = backoff(this.#failures, this.interval(true), { retryAfter: error.retryAfter });
    } finally {
      this.#running = false;
    }
    if (!this.#started) return;
    if (this.#again) {
      this.#again = false;
      this.now();
    } else {
      this.#schedule(wait);
    }
  }

  /** The interval has changed: wait as long as it says now, though not all to the same moment. */
  reschedule() {
    if (this.#failures === 0) this.#schedule(this.interval() * (0.5 + Math.random() * 0.5));
  }

  /** @param {number} wait */
  #schedule(wait) {
    if (!this.#started || this.#running) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.now(), wait);
  }
}
