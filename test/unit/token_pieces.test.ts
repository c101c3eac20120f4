/** Tokens as a report shows them: whole characters, with the log-probs of all their tokens. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { ROOT } from "./source_files.ts";
import { pieceTexts, tokenPieces } from "../../src/tracking/token_pieces.ts";

const tokenizer = await loadTokenizer(join(ROOT, "models/quickstart/policy"));
const textOf = pieceTexts((ids) => tokenizer.decode(ids), tokenizer.encodeWithoutSpecial("a"));
const known = (ids: readonly number[], logprobs: readonly (number | null)[] | null) => ({
  completion_ids: ids,
  logprobs: logprobs as number[] | null,
  ref_logprobs: logprobs && logprobs.map((value) => value === null ? 0 : value - 1) as number[],
});

test("pieces join to the text that the tokens decode to, spaces and the end's token kept", () => {
  const text = "The answer is\n no; 1 + 2 = 3.";
  const ids = [...tokenizer.encodeWithoutSpecial(text), tokenizer.eosId];
  const pieces = tokenPieces(known(ids, null), textOf);
  assert.equal(pieces.map((piece) => piece.text).join("").trimStart(), tokenizer.decode(ids).trimStart());
  assert.ok(pieces.length > 5);
  assert.equal(pieces.at(-1)!.text, tokenizer.decode([tokenizer.eosId]));
  assert.ok(pieces.every(({ logprob, refLogprob }) => logprob === null && refLogprob === null));
});

test("tokens that are bytes of one character are one piece, whose log-prob is their sum", () => {
  const bytes = tokenizer.encodeWithoutSpecial("\u{1F600}");
  assert.ok(bytes.length > 1, "of this tokenizer the character takes several tokens");
  const ids = [...tokenizer.encodeWithoutSpecial("a"), ...bytes, ...tokenizer.encodeWithoutSpecial("b")];
  const pieces = tokenPieces(known(ids, ids.map((_, i) => -(2 ** i))), textOf);
  const at = pieces.findIndex((piece) => piece.text.includes("\u{1F600}"));
  assert.ok(at > 0, JSON.stringify(pieces));
  assert.ok(pieces.every((piece) => !piece.text.includes("\uFFFD")));
  const total = (name: "logprob" | "refLogprob") => pieces.reduce((sum, piece) => sum + piece[name]!, 0);
  assert.equal(total("logprob"), 1 - 2 ** ids.length);
  assert.equal(total("refLogprob"), 1 - 2 ** ids.length - ids.length);
  assert.ok(pieces.length < ids.length);
});

test("bytes that never become a character stand as they decode, and a log-prob that is missing makes no number", () => {
  const [first] = tokenizer.encodeWithoutSpecial("\u{1F600}").slice(-4);
  const ids = [first, ...tokenizer.encodeWithoutSpecial("b")];
  const pieces = tokenPieces(known(ids, [null, -1]), textOf);
  assert.equal(pieces.length, 2);
  assert.deepEqual([pieces[0].logprob, pieces[1].logprob], [null, -1]);
});
