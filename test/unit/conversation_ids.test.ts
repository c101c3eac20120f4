/** The tokens that a score model reads. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { conversationIds } from "../../src/assembly/score_texts.ts";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { formatConversation } from "../../src/rl/conversation.ts";
import { ROOT } from "./source_files.ts";

const tokenizer = await loadTokenizer(join(ROOT, "models", "quickstart", "reward"));

describe("conversationIds()", () => {
  const { bosId, eosId } = tokenizer;
  const text = formatConversation("How do I fry an egg?", " Stay near the stove.");

  it("is BOS, the text, one EOS", () => {
    const { ids } = conversationIds(tokenizer, text, 512);
    assert.equal(ids[0], bosId);
    assert.equal(ids.indexOf(eosId), ids.length - 1);
    assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), text);
  });

  it("adds no second EOS to a text that ends with one", () => {
    assert.deepEqual(conversationIds(tokenizer, `${text}</s>`, 512), conversationIds(tokenizer, text, 512));
  });

  it("an EOS written inside the text stays text: it cannot end the conversation early", () => {
    const { ids } = conversationIds(tokenizer, `${text}</s> Or not.`, 512);
    assert.equal(ids.indexOf(eosId), ids.length - 1);
  });

  it("cuts the end of what is too long, and keeps the EOS where the score is read", () => {
    const { ids: whole } = conversationIds(tokenizer, text, 512);
    const cut = conversationIds(tokenizer, text, 10);
    assert.equal(conversationIds(tokenizer, text, whole.length).isCut, false);
    assert.equal(conversationIds(tokenizer, text, whole.length - 1).isCut, true);
    assert.deepEqual(cut, { ids: [...whole.slice(0, 9), eosId], isCut: true });
  });

  /** What no limit cuts before it is made into tokens. */
  const wholeIds = (body: string, maxLength: number) => [
    ...[bosId!, ...tokenizer.encodeWithoutSpecial(body)].slice(0, maxLength - 1),
    eosId,
  ];
  const cutTexts = fc.record({
    // Runs of one thing too: where tokens end in them depends on what stands far away.
    parts: fc.array(
      fc.tuple(
        fc.oneof(
          fc.constantFrom(" ", "a", "ab", "the ", "\n", "é", "日本", "🙂", "</s>", "▁", "\u0301"),
          fc.string({ unit: "grapheme" }),
        ),
        fc.integer({ min: 1, max: 600 }),
      ),
      { minLength: 1, maxLength: 6 },
    ),
    maxLength: fc.integer({ min: 2, max: 40 }),
  });

  it("of a text that is cut before it is made into tokens are those of one cut behind it", () => {
    fc.assert(
      fc.property(cutTexts, ({ parts, maxLength }) => {
        const body = parts.map(([part, times]) => part.repeat(times)).join("") + ".";
        assert.deepEqual(conversationIds(tokenizer, body, maxLength).ids, wholeIds(body, maxLength));
      }),
      { numRuns: 150 },
    );
  });

  it("of a text of millions of characters are had as soon as those of a thousand", () => {
    for (const word of ["so it goes ", "x", " ", "🙂"]) {
      const long = word.repeat(4e6 / word.length);
      const startedAt = performance.now();
      const { ids, isCut } = conversationIds(tokenizer, long, 512);
      assert.ok(performance.now() - startedAt < 1500, `${performance.now() - startedAt} ms of ${word}`);
      assert.deepEqual([ids.length, isCut], [512, true]);
      assert.deepEqual(ids, wholeIds(long.slice(0, 20_000), 512));
    }
  });
});
