/** What is true for seconds only, in the open chat: who types, and who of support is here. */

import { Emitter } from "../../web/static/emitter.js";

/** A typing indicator expires after this time. */
const STOPPED = 6_000;

/** Emits "change". */
export class Signals extends Emitter {
  #typing = new Map();
  #here = new Map();

  /** The names of those who are typing. */
  get typing() {
    return [...this.#typing.values()].map(({ name }) => name);
  }

  /** The names of the agents who look at the chat. */
  get here() {
    return [...this.#here.values()];
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  types(id, name) {
    clearTimeout(this.#typing.get(id)?.timer);
    this.#typing.set(id, { name, timer: setTimeout(() => this.stops(id), STOPPED) });
    this.emit("change");
  }

  /**
   * They have stopped, for example because their message is there.
   *
   * @param {string} id
   */
  stops(id) {
    clearTimeout(this.#typing.get(id)?.timer);
    if (this.#typing.delete(id)) this.emit("change");
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  comes(id, name) {
    if (this.#here.get(id) === name) return;
    this.#here.set(id, name);
    this.emit("change");
  }

  /** @param {string} id */
  goes(id) {
    this.stops(id);
    if (this.#here.delete(id)) this.emit("change");
  }

  /** Reset: another chat is open, or the connection is lost. */
  forget() {
    if (this.#typing.size === 0 && this.#here.size === 0) return;
    for (const { timer } of this.#typing.values()) clearTimeout(timer);
    this.#typing.clear();
    this.#here.clear();
    this.emit("change");
  }
}
