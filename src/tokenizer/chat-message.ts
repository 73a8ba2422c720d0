/** One turn of a conversation; further keys (`tool_calls`, `name`, …) reach the template as they are. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [key: string]: unknown;
}
