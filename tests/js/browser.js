/** A stand-in for the few parts of a browser that modules without a page ask for. */

import { mock } from "node:test";

/** A document or window: listeners, and whether it is hidden. */
class Target extends EventTarget {
  hidden = false;
}

/** A WebSocket without a network: the test is the server. */
export class FakeWebSocket {
  static OPEN = 1;
  /** Those that were made, the newest last. @type {FakeWebSocket[]} */
  static all = [];
  /** What the constructor throws, as where a policy forbids the connection. @type {Error | null} */
  static error = null;

  OPEN = 1;
  readyState = 0;
  /** What was sent. @type {any[]} */
  frames = [];
  /** @type {(() => void) | null} */
  onopen = null;
  /** @type {((event: { data: string }) => void) | null} */
  onmessage = null;
  /** @type {((event: { code: number }) => void) | null} */
  onclose = null;

  /**
   * @param {string} url
   * @param {string[]} protocols
   */
  constructor(url, protocols) {
    if (FakeWebSocket.error) throw FakeWebSocket.error;
    this.url = url;
    this.protocols = protocols;
    FakeWebSocket.all.push(this);
  }

  /** @param {string} text */
  send(text) {
    this.frames.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  /** Let the handshake succeed. */
  accept() {
    this.readyState = 1;
    this.onopen?.();
  }

  /** Let a frame arrive. @param {object} frame */
  receive(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** Let the connection end. */
  drop(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

/**
 * Put a browser with a clock of its own into the global scope, for one test: `clock.tick(ms)`
 * moves the time. Chance always says `random`.
 *
 * @param {import("node:test").TestContext} context
 */
export function useBrowser(context, { random = 0.5 } = {}) {
  const document = new Target();
  const window = Object.assign(new EventTarget(), { WebSocket: FakeWebSocket });
  const navigator = { onLine: true };
  FakeWebSocket.all = [];
  FakeWebSocket.error = null;
  const scope = /** @type {any} */ (globalThis);
  /** @type {Record<string, any>} */
  const parts = { document, window, navigator, WebSocket: FakeWebSocket };
  const before = Object.keys(parts).map((name) => /** @type {const} */ ([name, Object.getOwnPropertyDescriptor(scope, name)]));
  for (const [name, value] of Object.entries(parts)) Object.defineProperty(scope, name, { value, configurable: true, writable: true });
  const chance = mock.method(Math, "random", () => random);
  context.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_700_000_000_000 });
  context.after(() => {
    chance.mock.restore();
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(scope, name, descriptor);
      else delete scope[name];
    }
  });
  return {
    document,
    window,
    navigator,
    clock: context.mock.timers,
    /** Hide or show the tab. @param {boolean} hidden */
    hide(hidden) {
      document.hidden = hidden;
      document.dispatchEvent(new Event("visibilitychange"));
    },
    /** The newest WebSocket. */
    socket() {
      const socket = FakeWebSocket.all.at(-1);
      if (!socket) throw new Error("No WebSocket was opened.");
      return socket;
    },
  };
}

/** Let everything that waits for a promise go on. */
export async function settle() {
  for (let round = 0; round < 20; round += 1) await Promise.resolve();
}
