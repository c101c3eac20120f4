/** Requests of a scorer service as they come, narrowed to texts. */
import type { z } from "zod";
import { formatConversation, type Message, userText } from "../../rl/conversation.ts";
import type { PairsRequest } from "../protocol.ts";
import { Refusal } from "./refusal.ts";

export interface Conversations {
  texts: string[];
  /** Absent where texts alone are known. */
  conversations?: Message[][];
}

/** @throws Refusal when the bytes are not JSON (400) or JSON of another shape (422) */
export function parseRequest<T>(bytes: Uint8Array, schema: z.ZodType<T>): T {
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new Refusal(400, `The request is not JSON: ${(cause as Error).message}`);
  }
  const request = schema.safeParse(body);
  if (request.success) return request.data;
  const { path, message } = request.error.issues[0];
  throw new Refusal(422, path.length > 0 ? `${path.join(".")}: ${message}` : message);
}

/**
 * The body, however it is sent (in chunks of unknown length too).
 * @param took told of the bytes that have come, or are said to come; it may throw what the request is refused with
 * @throws Refusal when it is larger than it may be (413) or breaks off (400)
 */
export async function readBody(
  request: Request,
  maxBytes: number,
  took: (sizeBytes: number) => void,
): Promise<Uint8Array> {
  const tooLarge = () => new Refusal(413, `The request is larger than ${maxBytes} bytes; send fewer texts`);
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > maxBytes) throw tooLarge();
  took(announced);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of request.body ?? []) {
      sizeBytes += chunk.byteLength;
      if (sizeBytes > maxBytes) throw tooLarge();
      if (sizeBytes > announced) took(sizeBytes);
      chunks.push(chunk);
    }
    return new Uint8Array(await new Blob(chunks).arrayBuffer());
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    throw new Refusal(400, `The request broke off: ${(cause as Error).message}`);
  }
}

/**
 * Texts and conversations of a request. A prompt whose conversation is not given is one turn of the user's.
 * @throws Refusal when the lists are of different lengths (400) or too long (413)
 */
export function conversationsOf(
  { prompts, responses, messages }: PairsRequest,
  maxItems: number,
): Required<Conversations> {
  if (prompts.length !== responses.length) {
    throw new Refusal(
      400,
      `${prompts.length} prompts and ${responses.length} responses: need one response per prompt`,
    );
  }
  if (messages && messages.length !== prompts.length) {
    throw new Refusal(
      400,
      `${prompts.length} prompts and ${messages.length} lists of messages: need one list per prompt`,
    );
  }
  requireAtMost(maxItems, prompts.length);
  return {
    texts: prompts.map((prompt, i) => formatConversation(prompt, responses[i])),
    conversations: prompts.map((prompt, i) => [
      ...messages?.[i] ?? [{ role: "user", content: userText(prompt) }],
      { role: "assistant", content: responses[i] },
    ]),
  };
}

/** @throws Refusal when there are more: 413 */
export function requireAtMost(maxItems: number, items: number): void {
  if (items <= maxItems) return;
  throw new Refusal(413, `${items} texts in one request: at most ${maxItems}; lower scorer_batch_size`);
}
