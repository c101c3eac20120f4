/** A tokenizer.model without a tokenizer.json; test/parity/text.ts holds its ids to sentencepiece's. */
import assert from "node:assert/strict";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import "../seeded_properties.ts";
import { addedTokensOf } from "../../src/io/tokenizer/sentencepiece/added_tokens.ts";
import { ownNames } from "../../src/io/tokenizer/sentencepiece/coder.ts";
import { pieceEncoder } from "../../src/io/tokenizer/sentencepiece/encode.ts";
import {
  byteToken,
  parseSentencePieceModel,
  PIECE_TYPE,
} from "../../src/io/tokenizer/sentencepiece/model.ts";
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

  it("refuses what it does not follow exactly, and says what it needs", () => {
    const all = [...CONTROL, ...BYTES, ...WORDS];
    const refuses = (bytes: Uint8Array, message: RegExp) => assert.throws(() => parse(bytes), message);
    refuses(
      modelOf(all, { 3: 3, 35: 1 }),
      /required to have a model of type BPE or UNIGRAM; got type WORD; convert it/,
    );
    refuses(modelOf(all, { 3: 2, 24: 1, 35: 1 }), /puts them behind/);
    refuses(modelOf(all, undefined, { 4: 0, 5: 0 }), /escape_whitespaces/);
    refuses(modelOf([...CONTROL, ...BYTES.slice(1), ...WORDS]), /a piece for each byte; <0x00> is missing/);
    refuses(modelOf([...all, ["ab", -9, 1]]), /every piece once; "ab" is there twice/);
    refuses(modelOf([...all, ["ca", NaN, 1]]), /piece 265 has score NaN/);
    refuses(modelOf([...all, ["x".repeat(257), -9, 4]]), /piece 265 has 257/);
    refuses(modelOf([...all, ["", -9, 1]]), /piece 265 has 0/);
    refuses(modelOf(all.slice(1)), /one piece for unknown characters; it has 0/);
    refuses(modelOf([]), /holds no pieces/);
    refuses(new Uint8Array(0), /holds no pieces/);
  });
});

describe("pieceEncoder()", () => {
  const idsOf = (
    pieces: Pieces,
    text: string,
    trainer: Record<number, number> = { 3: 2, 35: 1 },
    normalizer: Record<number, number> = { 4: 0 },
  ) => {
    const model = parse(modelOf([...CONTROL, ...BYTES, ...pieces], trainer, normalizer));
    return pieceEncoder(model)(text, true).map((id) => model.pieces[id].text);
  };
  const { unused, userDefined } = PIECE_TYPE;

  it("merges by score, not by id: pieces that stand first and score last come last", () => {
    const spaces: Pieces = [["\u2581\u2581", -1e9, 1], ["\u2581a", -1, 1], ["\u2581", -1e9, 1], ["a", -3, 1]];
    assert.deepEqual(idsOf(spaces, " a"), ["\u2581", "\u2581a"]);
    assert.deepEqual(idsOf(spaces, "  a"), ["\u2581\u2581", "\u2581a"]);
  });

  it("merges the leftmost of equal scores, also where pieces of one score overlap", () => {
    const tied: Pieces = [["ab", -1, 1], ["bc", -1, 1], ["cd", -1, 1], ["abc", -1, 1]];
    assert.deepEqual(idsOf(tied, "xabcd"), ["<0xE2>", "<0x96>", "<0x81>", "<0x78>", "abc", "<0x64>"]);
    assert.deepEqual(idsOf(tied.slice(1, 3), "abcd").slice(3), ["<0x61>", "bc", "<0x64>"]);
  });

  it("never splits nor grows a user-defined piece, and takes unused ones apart again", () => {
    const words: Pieces = [["ab", 0, userDefined], ["xa", -1, 1], ["abx", -2, 1], ["x", -5, 1], ["a", -6, 1]];
    assert.deepEqual(idsOf(words, "xabx").slice(3), ["x", "ab", "x"]);
    const through: Pieces = [["xa", -1, unused], ["xab", -2, 1], ["x", -5, 1], ["a", -6, 1], ["b", -7, 1]];
    assert.deepEqual(idsOf(through, "xab").slice(3), ["xab"]);
    assert.deepEqual(idsOf(through, "xa").slice(3), ["x", "a"]);
  });

  it("without byte_fallback makes one unknown piece of several unknown characters", () => {
    assert.deepEqual(idsOf(WORDS, "a\u65e5\u672cb", { 3: 2 }), ["\u2581", "a", "<unk>", "b"]);
    const control = ["<", "/", "s", ">"].map((text): Pieces[number] => [text, -9, 1]);
    assert.deepEqual(idsOf([...WORDS, ...control], "</s>", { 3: 2 }), ["\u2581", "<", "/", "s", ">"]);
  });

  it("drops extra spaces where the model says so, and puts none in front where it does not", () => {
    assert.deepEqual(idsOf(WORDS, "  a   b  ", undefined, {}), ["\u2581", "a", "\u2581", "b"]);
    assert.deepEqual(idsOf(WORDS, "   ", undefined, {}), []);
    assert.deepEqual(idsOf(WORDS, "ab", undefined, { 3: 0, 4: 0 }), ["ab"]);
  });

  it("of a Unigram model takes the pieces whose scores have the greatest sum", () => {
    const pieces: Pieces = [["\u2581", -2, 1], ["ab", -3, 1], ["bc", -2, 1], ["a", -2, 1], ["c", -2, 1]];
    assert.deepEqual(idsOf(pieces, "abc", { 3: 1, 35: 1 }), ["\u2581", "a", "bc"]);
    assert.deepEqual(idsOf(pieces, "ab", { 3: 1, 35: 1 }), ["\u2581", "ab"]);
    const tied: Pieces = [["\u2581", -2, 1], ["ab", -2, 1], ["c", -3, 1], ["a", -3, 1], ["bc", -2, 1]];
    assert.deepEqual(idsOf(tied, "abc", { 3: 1, 35: 1 }), ["\u2581", "a", "bc"], "of equal ones the first");
  });
});

describe("tokens that are added to a tokenizer.model", () => {
  const model = parse(modelOf([...CONTROL, ...BYTES, ...WORDS]));
  const added = (config: Record<string, unknown>, addedTokens = {}, named = {}) =>
    addedTokensOf(model, { config, addedTokens }, { ...ownNames(model), ...named }, "x/tokenizer.model");

  it("are named by the model's own pieces where the settings name none", () => {
    assert.deepEqual(ownNames(model), { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" });
    const other = parse(
      modelOf([["<unk>", 0, 2], ["<eos>", 0, 3], ...BYTES, ...WORDS], { 3: 2, 35: 1, 41: -1, 42: 1 }),
    );
    assert.deepEqual(ownNames(other), { bos_token: undefined, eos_token: "<eos>", unk_token: "<unk>" });
  });

  it("get the next ids where they are no piece, and settings that say otherwise are refused", () => {
    assert.deepEqual(
      added({}, { "[A]": 265 }, { pad_token: "[PAD]" }).map((
        { id, content, special },
      ) => [id, content, special]),
      [[0, "<unk>", true], [1, "<s>", true], [2, "</s>", true], [265, "[A]", false], [266, "[PAD]", true]],
    );
    assert.throws(() => added({}, { "[PAD]": 32000 }), /"\[PAD\]" is required to have id 265.*says 32000/);
    assert.throws(() => added({ added_tokens_decoder: { 7: null } }), /undefined is required/);
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

  it("refuses a space in front that the model does not put there", () =>
    withScratchFolder(async (dir) => {
      const bare = modelOf([...CONTROL, ...BYTES, ...WORDS], undefined, { 3: 0, 4: 0 });
      await writeFile(join(dir, "tokenizer.model"), bare);
      assert.deepEqual((await loadTokenizer(dir)).encode("ab"), [1, 259]);
      await writeFile(join(dir, "tokenizer_config.json"), '{"add_prefix_space": true}');
      await assert.rejects(loadTokenizer(dir), /puts no space before a text, but .*"add_prefix_space": true/);
    }));

  it("uses tokenizer.json where there is one", () =>
    inFolder({ "tokenizer.json": {}, "tokenizer_config.json": {} }, async (dir) => {
      await assert.rejects(loadTokenizer(dir), /tokenizer.json' is required to hold "model"/);
    }));

  it("names the file beside it that is broken", () =>
    inFolder({ "added_tokens.json": [] }, async (dir) => {
      await assert.rejects(loadTokenizer(dir), /added_tokens.json': required a JSON object, got a list/);
    }));
});
