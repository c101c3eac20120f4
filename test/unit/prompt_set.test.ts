/** Prompts as the policy reads them and as the scorer is told them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { formatPrompt } from "../../src/rl/conversation.ts";
import { encodePrompts } from "../../src/train/prompts.ts";
import { ROOT } from "./source_files.ts";

describe("encodePrompts()", async () => {
  const tokenizer = await loadTokenizer(join(ROOT, "models", "quickstart", "policy"));
  const user = "How do I fry an egg, and how do I keep the kitchen safe meanwhile?";
  const rowsOf = (...prompts: string[]) =>
    prompts.map((prompt, index) => ({ prompt, line: index + 1, columns: {} }));
  const readBy = (ids: number[]) => tokenizer.decode(ids, { skipSpecialTokens: true });

  it("puts the template around the user's text, BOS in front", () => {
    const [prompt] = encodePrompts(tokenizer, rowsOf(user), 512);
    assert.equal(prompt.ids[0], tokenizer.bosId);
    assert.equal(readBy(prompt.ids), formatPrompt(user));
    assert.deepEqual([prompt.user, prompt.truncated], [user, false]);
  });

  it("takes a prompt that holds the template already for the user's text in it", () => {
    const [plain, templated] = encodePrompts(tokenizer, rowsOf(user, formatPrompt(user)), 512);
    assert.deepEqual(templated, plain);
  });

  it("tells the scorer as much of a cut text as the policy reads, and keeps the template whole", () => {
    const whole = encodePrompts(tokenizer, rowsOf(user), 512)[0];
    const limit = whole.ids.length - 3;
    const [prompt, short] = encodePrompts(tokenizer, rowsOf(user, "Hi"), limit);
    assert.equal(prompt.truncated, true);
    assert.ok(prompt.ids.length <= limit);
    assert.equal(readBy(prompt.ids), formatPrompt(prompt.user));
    assert.ok(prompt.user.length < user.length && user.startsWith(prompt.user), prompt.user);
    assert.deepEqual([short.user, short.truncated], ["Hi", false]);
  });

  it("a prompt of exactly max_prompt_length tokens is not cut", () => {
    const { ids } = encodePrompts(tokenizer, rowsOf(user), 512)[0];
    assert.equal(encodePrompts(tokenizer, rowsOf(user), ids.length)[0].truncated, false);
    assert.equal(encodePrompts(tokenizer, rowsOf(user), ids.length - 1)[0].truncated, true);
  });

  it("names the line of the file whose prompt cannot be read", () => {
    assert.throws(
      () => encodePrompts(tokenizer, [{ prompt: user, line: 17, columns: {} }], 3),
      (error: Error) => {
        assert.ok(error instanceof RangeError);
        assert.match(error.message, /^Prompt of line 17: .*max_prompt_length/);
        return true;
      },
    );
  });
});
