/** Objects of JSON that nobody has checked yet. */

export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether it is an object, and no list. */
export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
