/** What the views of the chat pass to each other. */

import type { ChatApp } from "../../chat_ui/static/app.js";

export type App = ChatApp;
export type Way = "guest" | "login" | "register";

/** What is typed before the user has signed in. */
export interface Typed {
  name?: string;
  email?: string;
  message?: string;
}

/** The draft of a chat that is not there yet. */
export interface NewChatDraft extends Typed {
  clientMessageId: string;
  category?: string;
  subject?: string;
}

/** A message as it is shown: confirmed, or still in the outbox. */
export interface Item {
  key: string;
  page: number | string;
  seq?: number;
  mine: boolean;
  system?: boolean;
  agent?: boolean;
  sender: string | null | undefined;
  name: string | undefined;
  image?: string | null;
  content: string;
  deleted?: boolean;
  time: string;
  state: "read" | "sent" | "sending" | "waiting" | "refused";
  receipt: boolean;
  problem?: string | null;
  id?: string;
  first?: boolean;
  last?: boolean;
}

/** A row of a conversation: a message, or what stands between. */
export interface Row {
  key: string;
  page: number | string;
  signature: string;
  render: () => HTMLElement;
}

/** What the buttons of an unsent message do. */
export interface Actions {
  retry: (id: string) => void;
  edit: (item: Item) => void;
  discard: (id: string) => void;
}
