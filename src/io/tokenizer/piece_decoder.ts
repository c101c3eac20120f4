// Text of SentencePiece tokens, as the decoder of a tokenizer.json says. Pure.
//
// transformers.js has the same steps, but drops a byte-order mark that was encoded as bytes, and makes of bytes that
// are no UTF-8 fewer U+FFFD than transformers does.

interface DecoderStep {
  readonly type: string;
  readonly pattern?: { readonly String?: string };
  readonly content?: string;
  readonly start?: number;
  readonly stop?: number;
}

/** Tokens to tokens. */
type Step = (tokens: readonly string[]) => string[];

const REPLACEMENT = "\uFFFD";

/** Text of bytes; where they are no UTF-8 as a whole, one U+FFFD for every byte. */
function textOfBytes(bytes: readonly number[]): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return REPLACEMENT.repeat(bytes.length);
  }
}

/** Every run of byte tokens (<0x0A>) becomes the text of its bytes. */
const decodeByteRuns: Step = (tokens) => {
  const texts: string[] = [];
  let bytes: number[] = [];
  const endRun = () => {
    if (bytes.length > 0) texts.push(textOfBytes(bytes));
    bytes = [];
  };
  for (const token of tokens) {
    const hex = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (hex !== undefined) {
      bytes.push(Number.parseInt(hex, 16));
      continue;
    }
    endRun();
    texts.push(token);
  }
  endRun();
  return texts;
};

/** Takes up to `start` of the character from the front, and up to `stop` from the end. */
function stripped(text: string, character: string, start: number, stop: number): string {
  let first = 0;
  while (first < start && text[first] === character) first++;
  let end = text.length;
  while (text.length - end < stop && end > first && text[end - 1] === character) end--;
  return text.slice(first, end);
}

function stepOf({ type, pattern, content = "", start = 0, stop = 0 }: DecoderStep): Step | undefined {
  if (type === "ByteFallback") return decodeByteRuns;
  if (type === "Fuse") return (tokens) => [tokens.join("")];
  if (type === "Strip") return (tokens) => tokens.map((token) => stripped(token, content, start, stop));
  const replaced = pattern?.String;
  if (type !== "Replace" || replaced === undefined) return undefined;
  return (tokens) => tokens.map((token) => token.replaceAll(replaced, content));
}

/**
 * Tokens to text for a decoder that is a sequence with byte fallback, the Llama family's; undefined for another.
 */
export function pieceDecoder(decoder: unknown): ((tokens: readonly string[]) => string) | undefined {
  const { type, decoders = [] } = (decoder ?? {}) as { type?: string; decoders?: readonly DecoderStep[] };
  if (type !== "Sequence" || !decoders.some((step) => step.type === "ByteFallback")) return undefined;
  const steps = decoders.map(stepOf).filter((step) => step !== undefined);
  if (steps.length < decoders.length) return undefined;
  return (tokens) => steps.reduce((texts: readonly string[], step) => step(texts), tokens).join("");
}
