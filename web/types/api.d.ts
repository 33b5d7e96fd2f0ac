/** What the API answers, as far as the front ends read it; the OpenAPI document says all of it. */

export type Role = "user" | "guest" | "admin" | "system";

export interface User {
  _id: string;
  name: string;
  email: string;
  role: Role;
  image: string | null;
}

export interface Message {
  chatId: string;
  seq: number;
  clientMessageId?: string | null;
  senderId: string | null;
  senderName: string;
  senderImage: string | null;
  senderRole: Role;
  content: string;
  timestamp: string;
  isRead: boolean;
  deletedAt: string | null;
}

export interface LastMessage {
  content: string;
  senderRole: Role;
  senderName: string;
  timestamp: string;
}

export interface Chat {
  _id: string;
  userId: string;
  subject: string;
  status: string;
  category: string;
  adminName: string | null;
  adminImage: string | null;
  lastMessage: LastMessage | null;
  lastMessageAt: string;
  updatedAt: string;
  solvedAt: string | null;
  unreadCount: number;
  /** Of an event, and of a chat in a list; a chat that is read alone has `messageCount`. */
  lastSeq?: number;
  messageCount?: number;
}

/** A chat with its newest messages. */
export interface ChatWithMessages extends Chat {
  messages?: Message[];
}

/** application/problem+json. */
export interface Problem {
  title?: string;
  detail?: string;
  code?: string;
  fields?: Record<string, string[]>;
  /** The chat that is open already. */
  chatId?: string;
}

/** GET /api/config. */
export interface Config {
  categories: string[];
  limits: { message: number; subject: number; name: number; passwordMin: number };
  imageHosts: string[];
}
