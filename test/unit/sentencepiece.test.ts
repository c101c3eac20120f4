/** A tokenizer.model without a tokenizer.json; test/parity/text.ts holds its ids to transformers'. */
import assert from "node:assert/strict";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import "../seeded_properties.ts";
import { sentencePieceJson } from "../../src/io/tokenizer/sentencepiece_json.ts";
import {
  byteToken,
  parseSentencePieceModel,
  PIECE_TYPE,
} from "../../src/io/tokenizer/sentencepiece_model.ts";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";

const GOLDEN = join(ROOT, "test", "golden", "text", "llama2_model", "tokenizer.model");
const whole = new Uint8Array(await readFile(GOLDEN));

type Pieces = [text: string, score: number, type: number][];

const CONTROL: Pieces = [["<unk>", 0, PIECE_TYPE.unknown], ["<s>", 0, PIECE_TYPE.control], [
  "</s>",
  0,
  PIECE_TYPE.control,
]];
const BYTES: Pieces = Array.from({ length: 256 }, (_, byte) => [byteToken(byte), 0, PIECE_TYPE.byte]);
const WORDS: Pieces = [["ab", 0, 1], ["abc", -1, 1], ["\u2581", -2, 1], ["a", -3, 1], ["b", -4, 1], [
  "c",
  -5,
  1,
]];

/** A tokenizer.model with these settings of trainer_spec and normalizer_spec, by field number. */
function modelOf(
  pieces: Pieces,
  trainer: Record<number, number> = { 3: 2, 35: 1 },
  normalizer: Record<number, number> = { 4: 0 },
): Uint8Array {
  const writer = new BinaryWriter();
  for (const [text, score, type] of pieces) {
    writer.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(text)
      .tag(2, WireType.Bit32).float(score).tag(3, WireType.Varint).int32(type).join();
  }
  for (const [field, settings] of [[2, trainer], [3, normalizer]] as const) {
    writer.tag(field, WireType.LengthDelimited).fork();
    for (const [number, value] of Object.entries(settings)) {
      writer.tag(Number(number), WireType.Varint).int32(value);
    }
    writer.join();
  }
  return writer.finish();
}

const parse = (bytes: Uint8Array) => parseSentencePieceModel(bytes, "x/tokenizer.model");

/** The tokenizer of a folder with this tokenizer.model and these JSON files. */
async function inFolder(files: Record<string, unknown>, use: (dir: string) => Promise<void>): Promise<void> {
  await withScratchFolder(async (dir) => {
    await copyFile(GOLDEN, join(dir, "tokenizer.model"));
    for (const [name, content] of Object.entries(files)) {
      await writeFile(join(dir, name), JSON.stringify(content));
    }
    await use(dir);
  });
}

describe("parseSentencePieceModel()", () => {
  it("reads pieces with score and type", () => {
    const { pieces, addDummyPrefix } = parse(modelOf([...CONTROL, ...BYTES, ...WORDS]));
    assert.deepEqual(pieces[260], { text: "abc", score: -1, type: 1 });
    assert.equal(pieces.length, 3 + 256 + 6);
    assert.ok(addDummyPrefix);
    assert.equal(parse(whole).pieces.length, 800);
  });

  it("says of a file that is cut off anywhere that it is not whole", () => {
    fc.assert(fc.property(fc.nat(whole.length - 1), (length) => {
      assert.throws(
        () => parse(whole.subarray(0, length)),
        /^Error: Cannot load the tokenizer: 'x\/tokenizer/,
      );
    }));
  });

  it("refuses any other bytes in its own words, never with those of a library", () => {
    const tries = (bytes: Uint8Array) => {
      try {
        parse(bytes);
      } catch (error) {
        assert.match(String(error), /^Error: Cannot load the tokenizer: 'x\/tokenizer.model' (is|has) /);
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), tries));
    fc.assert(fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, byte) => tries(whole.with(at, byte))));
    tries(new TextEncoder().encode("IQ== 0\nIg== 1\n"));
  });

  it("refuses what cannot be converted exactly, and says what it needs", () => {
    const all = [...CONTROL, ...BYTES, ...WORDS];
    const refuses = (bytes: Uint8Array, message: RegExp) => assert.throws(() => parse(bytes), message);
    refuses(modelOf(all, { 3: 1, 35: 1 }), /required to have a BPE model.*got type UNIGRAM; convert it/);
    refuses(modelOf(all, { 35: 1 }), /got type UNIGRAM/);
    refuses(modelOf(all, { 3: 2 }), /required to have byte_fallback/);
    refuses(modelOf(all, { 3: 2, 24: 1, 35: 1 }), /puts them behind/);
    refuses(modelOf(all, undefined, {}), /remove_extra_whitespaces false/);
    refuses(modelOf(all, undefined, { 4: 0, 5: 0 }), /escape_whitespaces/);
    refuses(modelOf([...CONTROL, ...BYTES.slice(1), ...WORDS]), /a piece for each byte; <0x00> is missing/);
    refuses(modelOf([...all, ["ab", -9, 1]]), /every piece once; "ab" is there twice/);
    refuses(modelOf([...all, ["bc", 5, 1]]), /piece 265 has score 5 after -1/);
    refuses(modelOf([...all, ["ca", NaN, 1]]), /score NaN/);
    refuses(modelOf([...all, ["x".repeat(257), -9, 4]]), /piece 265 has 257/);
    refuses(modelOf([...all, ["", -9, 1]]), /piece 265 has 0/);
    refuses(modelOf([]), /holds no pieces/);
    refuses(new Uint8Array(0), /holds no pieces/);
  });
});

describe("sentencePieceJson()", () => {
  const model = parse(modelOf([...CONTROL, ...BYTES, ...WORDS]));
  const convert = (config: Record<string, unknown>, addedTokens = {}) =>
    sentencePieceJson(model, { config, addedTokens }, "x/tokenizer.model");

  it("makes a merge of every way to put a piece together, in the order of the pieces", () => {
    assert.deepEqual(convert({}).json.model.merges, [["a", "b"], ["ab", "c"]]);
  });

  it("names the tokens as LlamaTokenizer does where the settings do not", () => {
    const named = { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" };
    assert.deepEqual(convert({}).config, named);
    assert.deepEqual(
      convert({ bos_token: "", eos_token: { __type: "AddedToken", content: "</s>" } }).config,
      named,
    );
  });

  it("gives tokens that are no piece the next ids, and refuses settings that say otherwise", () => {
    const { json } = convert({ pad_token: "[PAD]" }, { "[A]": 265 });
    assert.deepEqual(
      json.added_tokens.map(({ id, content, special }) => [id, content, special]),
      [[0, "<unk>", true], [1, "<s>", true], [2, "</s>", true], [265, "[A]", false], [266, "[PAD]", true]],
    );
    assert.throws(() => convert({}, { "[PAD]": 32000 }), /"\[PAD\]" is required to have id 265.*say 32000/);
    assert.throws(() => convert({ added_tokens_decoder: { 7: null } }), /undefined is required/);
  });

  it("refuses to guess whether a model without dummy prefix wants one", () => {
    const bare = parse(modelOf([...CONTROL, ...BYTES, ...WORDS], undefined, { 3: 0, 4: 0 }));
    const settings = (config: Record<string, unknown>) => ({ config, addedTokens: {} });
    assert.throws(() => sentencePieceJson(bare, settings({}), "x"), /set "add_prefix_space": false/);
    assert.ok(sentencePieceJson(bare, settings({ add_prefix_space: false }), "x").json);
  });
});

describe("a folder with a tokenizer.model and no tokenizer.json", () => {
  it("loads, with or without the files beside it", async () => {
    await inFolder({}, async (dir) => {
      const tokenizer = await loadTokenizer(dir);
      assert.deepEqual([tokenizer.bosId, tokenizer.eosId, tokenizer.padId, tokenizer.vocabSize], [
        1,
        2,
        2,
        800,
      ]);
      assert.deepEqual(tokenizer.files, [join(dir, "tokenizer.model")]);
      assert.equal(tokenizer.encode("hello")[0], 1);
    });
    const files = {
      "tokenizer_config.json": { add_bos_token: false, pad_token: "<pad>", add_prefix_space: false },
    };
    await inFolder(files, async (dir) => {
      const tokenizer = await loadTokenizer(dir);
      assert.equal(tokenizer.padId, 800);
      const ids = tokenizer.encode("hello");
      assert.notEqual(ids[0], 1);
      assert.equal(tokenizer.decode(ids), "hello");
      assert.equal(tokenizer.decode(tokenizer.encode(" hello")), " hello");
    });
  });

  it("uses tokenizer.json where there is one", () =>
    inFolder({ "tokenizer.json": {}, "tokenizer_config.json": {} }, async (dir) => {
      await assert.rejects(loadTokenizer(dir), /tokenizer.json' is required to hold "model"/);
    }));

  it("names the file beside it that is broken", () =>
    inFolder({ "added_tokens.json": [] }, async (dir) => {
      await assert.rejects(loadTokenizer(dir), /added_tokens.json' is required to be a JSON object/);
    }));
});
