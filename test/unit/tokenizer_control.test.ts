/** Control tokens stay out of user text wherever a tokenizer's files name them. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { loadTokenizer, type Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { llama2Config, llama2Json, writeTokenizer } from "./tiny_tokenizer.ts";

async function tokenizerOf(
  json: unknown,
  config: unknown,
  otherFiles: Record<string, unknown> = {},
): Promise<Tokenizer> {
  let tokenizer: Tokenizer | undefined;
  await withScratchFolder(async (dir) => {
    await writeTokenizer(dir, json, config);
    for (const [name, content] of Object.entries(otherFiles)) {
      await writeFile(join(dir, name), JSON.stringify(content));
    }
    tokenizer = await loadTokenizer(dir);
  });
  return tokenizer!;
}

const llama2 = await tokenizerOf(llama2Json(), llama2Config);
const EOS = llama2.eosId;
const TEXT = "</s>the</s>";

function assertPlain(tokenizer: Tokenizer): void {
  const ids = tokenizer.encodeWithoutSpecial(TEXT);
  assert.ok(!ids.includes(EOS), `${ids} holds the end token ${EOS}`);
  assert.deepEqual(ids, llama2.encodeWithoutSpecial(TEXT));
  assert.equal(tokenizer.decode(ids), TEXT);
}

test("no merge of a user's text arrives at </s>, also where merges are pairs, as newer files have them", async () => {
  const { model, ...json } = llama2Json();
  const merges = model.merges.map((merge) => merge.split(" "));
  assertPlain(await tokenizerOf({ ...json, model: { ...model, merges } }, llama2Config));
});

test("an end token that the config alone names, and no added token, is none in a user's text", async () => {
  const { added_tokens, ...json } = llama2Json();
  const others = added_tokens.filter(({ content }) => content !== "</s>");
  // Padding is often the end token, and then names it too.
  const config = { ...llama2Config, pad_token: "<unk>" };
  const tokenizer = await tokenizerOf({ ...json, added_tokens: others }, config);
  assert.equal(tokenizer.eosId, EOS);
  assertPlain(tokenizer);
});

test("special_tokens_map.json counts only where tokenizer_config.json lists no added tokens", async () => {
  const map = { "special_tokens_map.json": { eos_token: "<s>" } };
  const listing = { ...llama2Config, added_tokens_decoder: { 2: { content: "</s>", special: true } } };
  assert.equal((await tokenizerOf(llama2Json(), listing, map)).eosId, EOS);
  const { eos_token: _, ...without } = llama2Config;
  const named = { "special_tokens_map.json": { eos_token: { content: "<s>" } } };
  assert.equal((await tokenizerOf(llama2Json(), without, named)).eosId, llama2.bosId);
});
