/** The tokens that a score model reads. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { conversationIds } from "../../src/assembly/score_texts.ts";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { formatConversation } from "../../src/rl/conversation.ts";
import { ROOT } from "./source_files.ts";

const tokenizer = await loadTokenizer(join(ROOT, "models", "quickstart", "reward"));

describe("conversationIds()", () => {
  const { bosId, eosId } = tokenizer;
  const text = formatConversation("How do I fry an egg?", " Stay near the stove.");

  it("is BOS, the text, one EOS", () => {
    const ids = conversationIds(tokenizer, text, 512);
    assert.equal(ids[0], bosId);
    assert.equal(ids.indexOf(eosId), ids.length - 1);
    assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), text);
  });

  it("adds no second EOS to a text that ends with one", () => {
    assert.deepEqual(conversationIds(tokenizer, `${text}</s>`, 512), conversationIds(tokenizer, text, 512));
  });

  it("an EOS written inside the text stays text: it cannot end the conversation early", () => {
    const ids = conversationIds(tokenizer, `${text}</s> Or not.`, 512);
    assert.equal(ids.indexOf(eosId), ids.length - 1);
  });

  it("cuts the end of what is too long, and keeps the EOS where the score is read", () => {
    const whole = conversationIds(tokenizer, text, 512);
    const cut = conversationIds(tokenizer, text, 10);
    assert.deepEqual(cut, [...whole.slice(0, 9), eosId]);
  });
});
