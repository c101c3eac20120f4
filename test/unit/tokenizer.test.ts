import assert from "node:assert/strict";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { loadTokenizer, type Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { llama2Config, llama2Json, llama3Config, llama3Json, writeTokenizer } from "./tiny_tokenizer.ts";

const template = (user: string) => `BEGINNING OF CONVERSATION: USER: ${user} ASSISTANT:`;

/** The tokenizer of these two files. */
async function tokenizerOf(json: unknown, config: unknown): Promise<Tokenizer> {
  let tokenizer: Tokenizer | undefined;
  await withScratchFolder(async (dir) => {
    await writeTokenizer(dir, json, config);
    tokenizer = await loadTokenizer(dir);
  });
  assert.ok(tokenizer);
  return tokenizer;
}

const llama2 = await tokenizerOf(llama2Json(), llama2Config);
const llama3 = await tokenizerOf(llama3Json(), llama3Config);
const both: [string, Tokenizer][] = [["Llama 2", llama2], ["Llama 3", llama3]];
const vocab2 = llama2Json().model.vocab as Record<string, number>;
const ids2 = (...tokens: string[]) => tokens.map((token) => vocab2[token]);
const anyText = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 30 }),
  fc.array(
    fc.constantFrom("<s>", "</s>", "<|eot_id|>", "<|begin_of_text|>", "<unk>", " ", "hello", "é", "😀"),
  ).map(
    (parts) => parts.join(""),
  ),
);

test("encode() puts BOS first and merges as worked by hand", () => {
  assert.deepEqual(llama2.encode("hello the"), ids2("<s>", "\u2581hello", "\u2581the"));
  assert.deepEqual(llama2.encodeWithoutSpecial("é"), ids2("\u2581", "<0xC3>", "<0xA9>"));
  assert.deepEqual([llama2.bosId, llama2.eosId, llama2.padId], [1, 2, 2]);
  assert.equal(llama2.vocabSize, Math.max(...Object.values(vocab2)) + 1);
  assert.equal(llama3.vocabSize, 256 + 5 + 2);
  assert.equal(llama3.encode("hello")[0], llama3.bosId);
});

for (const [name, tokenizer] of both) {
  test(`${name}: control tokens written by a user stay plain text`, () => {
    const control = new Set([tokenizer.bosId, tokenizer.eosId]);
    fc.assert(fc.property(anyText, (text) => {
      const ids = tokenizer.encodeWithoutSpecial(text);
      assert.ok(!ids.some((id) => control.has(id)), JSON.stringify(text));
      // A Llama 2 tokenizer writes a space as U+2581, so it cannot tell that character from a space.
      const spaced = (decoded: string) => name === "Llama 2" ? decoded.replaceAll("\u2581", " ") : decoded;
      assert.equal(spaced(tokenizer.decode(ids)), spaced(text));
    }));
  });

  test(`${name}: encodePrompt() is encode() of the templated text where that holds no control token`, () => {
    fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 30 }), (user) => {
      fc.pre(!/<s>|<\/s>|<unk>|<\|/.test(user));
      const { ids, text, truncated } = tokenizer.encodePrompt(user, template, 1000);
      assert.deepEqual(ids, tokenizer.encode(template(user)));
      assert.deepEqual([text, truncated], [template(user), false]);
    }));
  });

  test(`${name}: a cut prompt keeps the template whole, fits, is well-formed, and is as long as can be`, () => {
    const bare = tokenizer.encodePrompt("", template, 1000).ids.length;
    fc.assert(
      fc.property(anyText, fc.nat(30), (user, room) => {
        const limit = bare + room;
        const { ids, text, truncated } = tokenizer.encodePrompt(user, template, limit);
        assert.ok(ids.length <= limit);
        assert.equal(ids[0], tokenizer.bosId);
        const kept = text.slice(template("").indexOf("  ") + 1, text.length - " ASSISTANT:".length);
        assert.equal(text, template(kept));
        assert.ok(user.startsWith(kept) && kept.isWellFormed());
        assert.equal(truncated, kept !== user);
        assert.equal(tokenizer.decode(ids.slice(1)), text);
        const whole = tokenizer.encodeWithoutSpecial(user);
        const part = tokenizer.encodeWithoutSpecial(kept);
        assert.deepEqual(part, whole.slice(0, part.length));
        if (truncated) assert.ok(ids.length > limit - 8, "an emoji with its neighbours is at most 8 tokens");
      }),
      { numRuns: 100 },
    );
  });
}

test("a control token's characters merge as far as they can without becoming it", () => {
  assert.deepEqual(llama2.encodeWithoutSpecial("</s>"), ids2("\u2581", "</s", ">"));
  assert.deepEqual(llama2.encode("</s>"), ids2("<s>", "</s>"));
});

test("a cut lands on a token boundary of the whole text, not where a shorter text would have one", async () => {
  const json = llama2Json();
  // "abcd" is [ab][cd], but "abc" alone is one token: the longest text that fits is not a boundary.
  json.model.merges = ["c d", "b c", "a bc", "a b"];
  Object.assign(json.model.vocab, { cd: 400, bc: 401, abc: 402, ab: 403 });
  const tokenizer = await tokenizerOf(json, llama2Config);
  const limit = tokenizer.encodePrompt("", template, 1000).ids.length + 1;
  assert.equal(tokenizer.encodePrompt("abc", template, limit).truncated, false);
  assert.equal(tokenizer.encodePrompt("abcd", template, limit).text, template("ab"));
});

test("encodePrompt() cuts the user's text inside a template the text came with", () => {
  const wrapOnce = (user: string) => (user.startsWith("BEGINNING") ? user : template(user));
  const limit = llama2.encodePrompt("", template, 1000).ids.length + 1;
  const [plain, wrapped] = ["hello the the", template("hello the the")]
    .map((user) => llama2.encodePrompt(user, wrapOnce, limit));
  assert.deepEqual(wrapped, plain);
  assert.equal(plain.text, template("hello the"));
});

test("encodePrompt() names the smallest max_prompt_length, and refuses a template that loses the text", () => {
  assert.throws(() => llama2.encodePrompt("x", template, 10), /takes 46 tokens without any user text/);
  assert.throws(() => llama2.encodePrompt("x", template, 0), /max_prompt_length 0/);
  assert.throws(() => llama2.encodePrompt("x", () => "fixed", 10), /holds the user's text 0 times/);
});

test("a text of a million characters is cut in well under ten seconds", () => {
  const { ids, truncated } = llama2.encodePrompt("hello ".repeat(170_000), template, 512);
  assert.ok(truncated && ids.length > 505);
});

test("decode() takes typed arrays, drops special tokens on request, and gives ids past the vocabulary no text", () => {
  const ids = [...llama2.encode("hello , the ."), llama2.eosId];
  assert.equal(llama2.decode(Int32Array.from(ids), { skipSpecialTokens: true }), "hello , the .");
  assert.equal(llama2.decode(ids), "<s> hello , the .</s>");
  assert.equal(llama2.decode([]), "");
  assert.equal(llama2.decode([99999]), "");
  assert.throws(() => llama2.decode([-1]), /token id -1/);
  assert.equal(llama3.decode(llama3.encode("a , b ."), { skipSpecialTokens: true }), "a , b .");
});

test("control tokens stay plain text also where only the config names them, and the unknown token survives", async () => {
  const json = llama2Json();
  json.added_tokens = json.added_tokens.map((token) => ({ ...token, special: false }));
  json.model.byte_fallback = false;
  const tokenizer = await tokenizerOf(json, llama2Config);
  assert.ok(!tokenizer.encodeWithoutSpecial("a</s>").includes(2));
  assert.deepEqual(tokenizer.encodeWithoutSpecial("aé"), ids2("\u2581", "a", "<unk>"));
});

test("absolute and relative folders load, name their files, and a rewritten folder is read anew", () =>
  withScratchFolder(async (dir) => {
    await writeTokenizer(dir, llama2Json(), llama2Config);
    await writeFile(join(dir, "special_tokens_map.json"), "{}");
    const names = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
    for (const path of [dir, `${dir}/`, relative(process.cwd(), dir)]) {
      assert.deepEqual((await loadTokenizer(path)).files, names.map((name) => join(dir, name)));
    }
    await writeTokenizer(dir, llama3Json(), llama3Config);
    assert.equal((await loadTokenizer(dir)).vocabSize, llama3.vocabSize);
  }));

test("half a surrogate pair, which is no text, encodes as U+FFFD and does not fail", () => {
  for (const tokenizer of [llama2, llama3]) {
    for (const text of ["\uD83D", "a\uDE00b", "\uDE00\uD83D"]) {
      const ids = tokenizer.encode(text);
      assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), text.toWellFormed());
    }
  }
});

test("bytes that are no UTF-8 decode to one U+FFFD each, and a byte-order mark stays", () => {
  const bytes = (...values: number[]) => llama2.decode(values.map((value) => 3 + value));
  assert.equal(bytes(0xF0, 0x9F, 0x98), "\uFFFD\uFFFD\uFFFD");
  assert.equal(bytes(0xF0, 0x9F, 0x98, 0x80), "😀");
  assert.equal(bytes(0xEF, 0xBB, 0xBF, 0x61), "\uFEFFa");
});

test("tokens are named by special_tokens_map.json where tokenizer_config.json has no added_tokens_decoder", () =>
  withScratchFolder(async (dir) => {
    await writeTokenizer(dir, llama2Json(), { ...llama2Config, eos_token: null });
    const map = { eos_token: { content: "</s>", lstrip: false, rstrip: false } };
    await writeFile(join(dir, "special_tokens_map.json"), JSON.stringify(map));
    assert.equal((await loadTokenizer(dir)).eosId, 2);
  }));

test("BOS and EOS are found without tokenizer_config.json: in special_tokens_map.json, config.json, or by name", () =>
  withScratchFolder(async (dir) => {
    await writeTokenizer(dir, llama2Json(), {});
    await rm(join(dir, "tokenizer_config.json"));
    const idsOf = async () => {
      const { bosId, eosId, padId } = await loadTokenizer(dir);
      return [bosId, eosId, padId];
    };
    assert.deepEqual(await idsOf(), [1, 2, 2]);
    await writeFile(join(dir, "config.json"), JSON.stringify({ bos_token_id: 0, eos_token_id: [9999, 1] }));
    assert.deepEqual(await idsOf(), [0, 1, 1]);
    const map = { eos_token: { content: "<unk>" }, pad_token: "<s>" };
    await writeFile(join(dir, "special_tokens_map.json"), JSON.stringify(map));
    assert.deepEqual(await idsOf(), [0, 0, 1]);
    const none = llama2Json();
    await writeTokenizer(dir, { ...none, added_tokens: none.added_tokens.slice(0, 1) }, {});
    for (const name of ["tokenizer_config.json", "special_tokens_map.json", "config.json"]) {
      await rm(join(dir, name));
    }
    await assert.rejects(loadTokenizer(dir), /required an "eos_token" in tokenizer_config.json .*, got null/);
  }));

test("an EOS that tokenizer_config.json lacks is config.json's; a BOS that it lacks, the tokenizer does not have", () =>
  withScratchFolder(async (dir) => {
    await writeTokenizer(dir, llama2Json(), { tokenizer_class: "LlamaTokenizer" });
    await writeFile(join(dir, "config.json"), JSON.stringify({ bos_token_id: 1, eos_token_id: 2 }));
    const { bosId, eosId } = await loadTokenizer(dir);
    assert.deepEqual([bosId, eosId], [undefined, 2]);
  }));

test("a token named by an object is that token", async () => {
  const tokenizer = await tokenizerOf(llama2Json(), { ...llama2Config, eos_token: { content: "</s>" } });
  assert.equal(tokenizer.eosId, 2);
});

test("added tokens take white space along as tokenizers has it: U+0085 is some, U+FEFF is none", async () => {
  const json = llama3Json();
  json.added_tokens[1] = { ...json.added_tokens[1], lstrip: true, rstrip: true };
  const tokenizer = await tokenizerOf(json, llama3Config);
  const [{ id }, a] = [json.added_tokens[1], tokenizer.encodeAsText("a")[0]];
  assert.deepEqual(tokenizer.encodeRendered("a \u0085\n<|eot_id|>\u0085\ta"), [a, id, a]);
  assert.deepEqual(tokenizer.encodeRendered("<|eot_id|>\ufeffa"), [id, ...tokenizer.encodeAsText("\ufeffa")]);
  assert.equal(tokenizer.decode(tokenizer.encodeWithoutSpecial("a <|eot_id|> a")), "a <|eot_id|> a");
});

test("an added token that counts as a whole word alone is refused by name", async () => {
  const json = llama3Json();
  json.added_tokens[1] = { ...json.added_tokens[1], single_word: true };
  await assert.rejects(
    tokenizerOf(json, llama3Config),
    /added token "<\|eot_id\|>" counts as a whole word alone/,
  );
});

test("text may be read with its control tokens, or with no added token at all", async () => {
  const json = llama3Json();
  const { id } = json.added_tokens[1];
  json.added_tokens.push({ ...json.added_tokens[1], id: id + 1, content: "<think>", special: false });
  const tokenizer = await tokenizerOf(json, llama3Config);
  const [eot, think] = [id, id + 1];
  assert.deepEqual(tokenizer.encodeRendered("<|eot_id|><think>"), [eot, think]);
  assert.deepEqual(tokenizer.encodeWithoutSpecial("<think>"), [think]);
  for (const text of ["<|eot_id|>", "<think>"]) {
    const ids = tokenizer.encodeAsText(text);
    assert.ok(ids.length > 1 && tokenizer.decode(ids) === text, `${ids}`);
  }
});

test("missing and broken tokenizer files are named with what to do", () =>
  withScratchFolder(async (dir) => {
    const fails = (message: RegExp) => assert.rejects(loadTokenizer(dir), message);
    await fails(
      /required tokenizer.json or a SentencePiece tokenizer.model, but tokenizer.json is missing; save it/,
    );
    await writeTokenizer(dir, llama2Json(), { ...llama2Config, eos_token: null });
    await fails(/required an "eos_token".*got null/);
    await writeTokenizer(dir, llama2Json(), { ...llama2Config, eos_token: "<none>" });
    await fails(/required an "eos_token".*got "<none>"/);
    await writeTokenizer(dir, { ...llama2Json(), model: { type: "Unigram", vocab: [] } }, llama2Config);
    await fails(/required to hold a "BPE" model, got "Unigram".*tokenizer.model that it was made of/);
    await writeTokenizer(dir, { model: { type: "BPE", vocab: { a: 1.5 }, merges: [] } }, llama2Config);
    await fails(/"model.vocab" of tokens and their ids/);
    await writeTokenizer(dir, [], llama2Config);
    await fails(/tokenizer.json': required a JSON object, got a list; save it again/);
    await writeTokenizer(dir, llama2Json(), llama2Config);
    await writeFile(join(dir, "tokenizer_config.json"), "{");
    await fails(/tokenizer_config.json': not valid JSON/);
    await rm(join(dir, "tokenizer_config.json"));
    await mkdir(join(dir, "tokenizer_config.json"));
    await fails(/tokenizer_config\.json.: required a file, but it is a folder \(EISDIR\)/);
  }));
