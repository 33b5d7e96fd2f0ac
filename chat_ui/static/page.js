/** The page /chat: the component in a whole window, the open chat in the address. */

import { CookieAuth } from "./api.js";
import { ChatApp } from "./app.js";
import { LocalStore } from "./storage.js";

const TITLE = document.title;
const root = /** @type {HTMLElement} */ (document.getElementById("chat"));

const app = new ChatApp({
  root,
  origin: location.origin,
  auth: new CookieAuth(),
  storage: new LocalStore("livechat:"),
  mode: "page",
  mayHaveSession: root.dataset.hasSession === "true",
});

function requested() {
  return /^#chat\/([0-9a-f]{24})$/.exec(location.hash)?.[1] ?? null;
}

/** Whose address it is, kept beside it in the history. */
function state() {
  return { owner: app.session.user?._id ?? null };
}

/** An address that another account opened in this tab is of no use to who comes next. */
app.requestedChat = (user) => {
  const owner = history.state?.owner;
  if (!user || !owner || owner === user._id) return requested();
  history.replaceState(null, "", location.pathname);
  return null;
};
app.on("opened", (chatId) => {
  if (chatId === requested()) return;
  history.pushState(state(), "", chatId ? `#chat/${chatId}` : location.pathname);
});
app.on("unread", (unread) => {
  document.title = unread > 0 ? `(${unread}) ${TITLE}` : TITLE;
});
window.addEventListener("hashchange", () => {
  if (!history.state) history.replaceState(state(), "");
  app.follow(requested());
});
window.addEventListener("popstate", () => app.follow(requested()));

app.start();
