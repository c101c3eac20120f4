import assert from "node:assert/strict";
import { test } from "node:test";
import { pieceDecoder } from "../../src/io/tokenizer/piece_decoder.ts";

const BYTES = { type: "ByteFallback" };
const decode = (steps: object[], ...tokens: string[]) =>
  pieceDecoder({ type: "Sequence", decoders: [BYTES, ...steps] })!(tokens);

test("only a sequence with byte fallback whose every step is known is taken", () => {
  for (
    const other of [null, undefined, {}, { type: "ByteLevel" }, { type: "Sequence" }, {
      type: "Sequence",
      decoders: [{ type: "Fuse" }],
    }]
  ) {
    assert.equal(pieceDecoder(other), undefined, JSON.stringify(other));
  }
  for (
    const unknown of [{ type: "WordPiece" }, { type: "Replace" }, {
      type: "Replace",
      pattern: { Regex: "a" },
    }]
  ) {
    assert.equal(pieceDecoder({ type: "Sequence", decoders: [BYTES, unknown] }), undefined);
  }
  assert.equal(pieceDecoder({ type: "Other", decoders: [BYTES] }), undefined);
});

test("runs of byte tokens become the text of their bytes, and nothing but byte tokens does", () => {
  assert.equal(decode([], "a", "<0xC3>", "<0xA9>", "b"), "aéb");
  assert.equal(decode([], "<0xc3>", "<0xa9>"), "é");
  assert.equal(decode([], "<0xC3>", "x", "<0xA9>"), "\uFFFDx\uFFFD");
  for (const plain of ["<0xC>", "<0xC3A>", "0xC3", "<0xC3> ", " <0xC3>", "<0xG3>"]) {
    assert.equal(decode([], plain), plain);
  }
});

test("Replace takes every occurrence in every token, as text and not as a pattern", () => {
  const spaces = { type: "Replace", pattern: { String: "\u2581" }, content: " " };
  assert.equal(decode([spaces], "\u2581a\u2581b", "\u2581c"), " a b c");
  assert.equal(decode([{ ...spaces, pattern: { String: "." } }], "a.b"), "a b");
  assert.equal(decode([{ type: "Replace", pattern: { String: "a" } }], "banana"), "bnn");
});

test("Strip takes up to so many of its character off each token's ends, or off the whole once it is fused", () => {
  const strip = (start: number, stop: number) => ({ type: "Strip", content: " ", start, stop });
  assert.equal(decode([strip(1, 0)], "  a ", " b"), " a b");
  assert.equal(decode([strip(0, 1)], "  a  ", "b "), "  a b");
  assert.equal(decode([strip(9, 9)], "  a  ", "   "), "a");
  assert.equal(decode([{ type: "Fuse" }, strip(1, 0)], " a", " b"), "a b");
  assert.equal(decode([{ type: "Strip", content: " " }], " a "), " a ");
});
