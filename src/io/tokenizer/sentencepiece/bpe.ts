// Splits a text as a SentencePiece BPE model does (bpe_model.cc of sentencepiece). Pure.
//
// Of all neighbours that make a piece together, those of the highest score are merged first, of equal scores the
// leftmost. (Where whitespace pieces share one score, as in the files of Llama 2 and Mistral, or added ones do, no list
// of merges in an order says that.)

import { PIECE_TYPE, type SentencePieceModel } from "./model.ts";
import { characterAt, userDefinedMatch } from "./normalize.ts";

interface Merge {
  score: number;
  left: number;
  right: number;
  /** Of both parts together when this was found: another length says that one of them has been merged since. */
  length: number;
}

/** Whether `a` is merged before `b`. */
const isBefore = (a: Merge, b: Merge) => a.score > b.score || (a.score === b.score && a.left < b.left);

/** A binary heap, first to be merged on top. */
function push(heap: Merge[], merge: Merge): void {
  let at = heap.push(merge) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!isBefore(heap[at], heap[parent])) return;
    [heap[at], heap[parent]] = [heap[parent], heap[at]];
    at = parent;
  }
}

function pop(heap: Merge[]): Merge | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return top;
  heap[0] = last;
  for (let at = 0;;) {
    let first = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      if (child < heap.length && isBefore(heap[child], heap[first])) first = child;
    }
    if (first === at) return top;
    [heap[at], heap[first]] = [heap[first], heap[at]];
    at = first;
  }
}

/** A text in pieces and single characters that are none. */
export type Split = (text: string) => string[];

/** @returns a function over normalized text */
export function bpeSplit({ pieces }: Pick<SentencePieceModel, "pieces">): Split {
  const match = userDefinedMatch({ pieces });
  const { normal, userDefined, unused } = PIECE_TYPE;
  const mergeable = pieces.filter(({ type }) => type === normal || type === userDefined || type === unused);
  const scores = new Map(mergeable.map(({ text, score }) => [text, score]));
  const unusedTexts = new Set(mergeable.filter(({ type }) => type === unused).map(({ text }) => text));

  return (text) => {
    const parts: string[] = [];
    const isWhole: boolean[] = [];
    for (let at = 0; at < text.length;) {
      const defined = match(text, at);
      const part = defined || characterAt(text, at);
      parts.push(part);
      isWhole.push(defined !== "");
      at += part.length;
    }
    const next = parts.map((_, i) => i + 1);
    const previous = parts.map((_, i) => i - 1);
    const heap: Merge[] = [];
    /** Unused pieces are merged through, and taken apart again at the end. */
    const halves = new Map<string, [string, string]>();
    const consider = (left: number, right: number) => {
      if (left < 0 || right >= parts.length || isWhole[left] || isWhole[right]) return;
      const whole = parts[left] + parts[right];
      const score = scores.get(whole);
      if (score === undefined) return;
      push(heap, { score, left, right, length: whole.length });
      if (unusedTexts.has(whole)) halves.set(whole, [parts[left], parts[right]]);
    };
    for (let i = 1; i < parts.length; i++) consider(i - 1, i);
    for (let merge = pop(heap); merge !== undefined; merge = pop(heap)) {
      const { left, right, length } = merge;
      if (parts[left] === "" || parts[right] === "") continue;
      if (parts[left].length + parts[right].length !== length) continue;
      parts[left] += parts[right];
      parts[right] = "";
      next[left] = next[right];
      if (next[right] < parts.length) previous[next[right]] = left;
      consider(previous[left], left);
      consider(left, next[left]);
    }
    const apart = (part: string): string[] => {
      const found = halves.get(part);
      return found === undefined ? [part] : found.flatMap(apart);
    };
    const merged = parts.filter((part) => part !== "");
    return halves.size === 0 ? merged : merged.flatMap(apart);
  };
}
