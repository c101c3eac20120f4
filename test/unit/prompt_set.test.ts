/** Prompts as the policy reads them and as the scorer is told them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { beaverFormat } from "../../src/io/prompts/prompt_format.ts";
import type { PromptRow } from "../../src/io/prompts/prompts.ts";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { formatPrompt } from "../../src/rl/conversation.ts";
import { encodePrompts } from "../../src/train/prompts.ts";
import { ROOT } from "./source_files.ts";

const tokenizer = await loadTokenizer(join(ROOT, "models", "quickstart", "policy"));

describe("encodePrompts()", () => {
  const user = "How do I fry an egg, and how do I keep the kitchen safe meanwhile?";
  const rowsOf = (...prompts: string[]) =>
    prompts.map((prompt, index) => ({ prompt, place: `line ${index + 1}`, columns: {} }));
  const encode = (rows: readonly PromptRow[], maxPromptLength: number) =>
    encodePrompts(beaverFormat(tokenizer), rows, { maxPromptLength });
  const readBy = (ids: number[]) => tokenizer.decode(ids, { skipSpecialTokens: true });

  it("puts the template around the user's text, BOS in front", () => {
    const [prompt] = encode(rowsOf(user), 512);
    assert.equal(prompt.ids[0], tokenizer.bosId);
    assert.equal(readBy(prompt.ids), formatPrompt(user));
    assert.deepEqual([prompt.user, prompt.truncated], [user, false]);
  });

  it("takes a prompt that holds the template already for the user's text in it", () => {
    const [plain, templated] = encode(rowsOf(user, formatPrompt(user)), 512);
    assert.deepEqual(templated, plain);
  });

  it("tells the scorer as much of a cut text as the policy reads, and keeps the template whole", () => {
    const whole = encode(rowsOf(user), 512)[0];
    const limit = whole.ids.length - 3;
    const [prompt, short] = encode(rowsOf(user, "Hi"), limit);
    assert.equal(prompt.truncated, true);
    assert.ok(prompt.ids.length <= limit);
    assert.equal(readBy(prompt.ids), formatPrompt(prompt.user));
    assert.ok(prompt.user.length < user.length && user.startsWith(prompt.user), prompt.user);
    assert.deepEqual([short.user, short.truncated], ["Hi", false]);
  });

  it("a prompt of exactly max_prompt_length tokens is not cut", () => {
    const { ids } = encode(rowsOf(user), 512)[0];
    assert.equal(encode(rowsOf(user), ids.length)[0].truncated, false);
    assert.equal(encode(rowsOf(user), ids.length - 1)[0].truncated, true);
  });

  it("names the line of the file whose prompt cannot be read", () => {
    assert.throws(
      () => encode([{ prompt: user, place: "'p.jsonl', line 17", columns: {} }], 3),
      (error: Error) => {
        assert.ok(error instanceof RangeError);
        assert.match(error.message, /^Prompt of 'p\.jsonl', line 17: .*max_prompt_length/);
        return true;
      },
    );
  });
});
