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
  const script = document.currentScript;
  if (!script || !script.src || window.LiveChat) return;

  const origin = new URL(script.src).origin;
  const { position = "right", label = "" } = script.dataset;
  const loaded = import(`${origin}{{ module_path }}`).then(({ embed }) => embed({ origin, position, label }));

  loaded.catch(() => {
    console.warn(
      `Support chat: ${origin} could not be loaded here. Is ${location.origin} listed in its CORS_ORIGINS, ` +
        "and does this page's Content-Security-Policy allow it in script-src and connect-src?",
    );
  });

  const call = (name) => () => loaded.then((widget) => widget[name](), () => undefined);
  window.LiveChat = Object.freeze({ open: call("open"), close: call("close"), toggle: call("toggle") });
})();
