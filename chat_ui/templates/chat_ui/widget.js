/**
 * Loads the support chat into the page that includes this file:
 *
 *     <script src="https://chat.example/widget.js" defer></script>
 *
 * If the page has a Content-Security-Policy, it has to allow https://chat.example in script-src
 * and both https://chat.example and wss://chat.example in connect-src. Without the latter the
 * chat works as well, but messages arrive some seconds later.
 *
 * Optional attributes: data-position="left" and data-label="Need help?".
 * The page can then call LiveChat.open(), LiveChat.close() and LiveChat.toggle().
 */
(() => {
  "use strict";
  // A symbol is ours alone: any element with id="LiveChat" is window.LiveChat.
  const MARK = Symbol.for("live-chat-widget");
  if (window[MARK]) {
    window[MARK].attach();
    return;
  }

  const PATH = {{ module_path | tojson }};
  const PUBLIC_URL = {{ public_url | tojson }};
  const address = chatAddress(this === undefined);
  if (address === null) {
    console.warn(
      "Support chat: the address of the chat is not known here, because widget.js was not loaded by its own " +
        'script element. Include it as <script src="https://CHAT/widget.js" defer></script>, or set PUBLIC_URL on the chat\'s server.',
    );
    return;
  }

  // First in the row if the script is: browsers call the window's listeners in their order.
  let current = null;
  window.addEventListener("popstate", (event) => current?.moved(event), true);

  let loading = null;
  const load = () => {
    loading ??= import(address.base + PATH)
      .then(({ embed }) => embed(address.options))
      .then((widget) => (current = widget))
      .catch((error) => {
        loading = null;
        const origin = address.base || "the chat's server";
        console.warn(
          `Support chat: ${origin} could not be loaded here. Is ${location.origin} listed in its CORS_ORIGINS, ` +
            "and does this page's Content-Security-Policy allow it in script-src and connect-src?",
        );
        throw error;
      });
    return loading;
  };
  const call = (name) => () => load().then((widget) => widget[name](), () => undefined);
  const api = Object.freeze({ open: call("open"), close: call("close"), toggle: call("toggle") });

  window[MARK] = Object.freeze({ ...api, attach: call("attach") });
  if (Object.getOwnPropertyDescriptor(window, "LiveChat")) {
    console.warn('Support chat: this page has a LiveChat of its own. Call window[Symbol.for("live-chat-widget")].open() instead.');
  } else {
    // Defined, not assigned: an element with this id is shadowed.
    Object.defineProperty(window, "LiveChat", { value: api, configurable: true, writable: true });
  }
  load().catch(() => undefined);

  /** Find the chat's origin: {base, options}, or null. `options` null: the module looks for them. */
  function chatAddress(isModule) {
    // An image named currentScript would stand in the script's place.
    const script = document.currentScript;
    const source = script instanceof HTMLScriptElement && script.src ? new URL(script.src) : null;
    if (source?.pathname.endsWith("/widget.js")) return { base: source.origin, options: { ...script.dataset } };
    // A module has no currentScript, but its imports are relative to where it came from.
    if (isModule) return { base: "", options: null };
    return PUBLIC_URL ? { base: new URL(PUBLIC_URL).origin, options: null } : null;
  }
})();
