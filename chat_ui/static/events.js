/** A minimal publish/subscribe base: everything that changes over time extends it. */

export class Emitter {
  #listeners = new Map();

  /** Call `listener` at every `name`; returns the function that ends it. */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.#listeners.get(name).delete(listener);
  }

  emit(name, detail) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener(detail);
  }
}
