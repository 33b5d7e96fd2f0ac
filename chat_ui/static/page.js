/** The page /chat: the component in a whole window, the open chat in the address. */

import { CookieAuth } from "./api.js";
import { ChatApp } from "./app.js";
import { LocalStore } from "./storage.js";

const TITLE = document.title;
const root = document.getElementById("chat");

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

app.requestedChat = requested;
app.on("opened", (chatId) => {
  if (chatId === requested()) return;
  history.pushState(null, "", chatId ? `#chat/${chatId}` : location.pathname);
});
app.on("unread", (unread) => {
  document.title = unread > 0 ? `(${unread}) ${TITLE}` : TITLE;
});
window.addEventListener("hashchange", () => app.follow(requested()));
window.addEventListener("popstate", () => app.follow(requested()));

app.start();
