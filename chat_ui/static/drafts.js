/** What has been typed and not sent, per account and chat; it survives a reload. */

export class Drafts {
  #userId = null;

  constructor(storage) {
    this.storage = storage;
  }

  open(userId) {
    this.#userId = userId;
  }

  get(name) {
    return this.storage.get(this.#key(name)) ?? "";
  }

  set(name, value) {
    if (!this.#userId) return;
    if (value === "" || value === null) this.storage.remove(this.#key(name));
    else this.storage.set(this.#key(name), value);
  }

  #key(name) {
    return `draft:${this.#userId}:${name}`;
  }
}
