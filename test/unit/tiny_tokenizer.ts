// Two tiny tokenizers in the file format of Hugging Face, for tests: small enough to work their ids out by hand.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const special = (id: number, content: string) => ({
  id,
  content,
  special: true,
  normalized: false,
  lstrip: false,
  rstrip: false,
  single_word: false,
});

const beginsWith = (token: string, id: number) => ({
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: token, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
  special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
});

function vocabOf(tokens: readonly string[]): Record<string, number> {
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}

/**
 * As Llama 2: spaces become U+2581, unknown characters become their bytes. Ids: <unk> 0, <s> 1, </s> 2,
 * byte b is 3 + b, then the printable ASCII characters, U+2581, and the merged pieces; some merges arrive at "</s>".
 */
export function llama2Json() {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  const ascii = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const merges = [
    "t h",
    "th e",
    "\u2581 the",
    "h e",
    "l l",
    "he ll",
    "hell o",
    "\u2581 hello",
    "< /",
    "</ s",
    "</s >",
  ];
  const pieces = merges.map((merge) => merge.replace(" ", "")).filter((piece) => piece !== "</s>");
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "\u2581" },
        { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      ],
    },
    pre_tokenizer: null,
    post_processor: beginsWith("<s>", 1),
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: "<unk>",
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: vocabOf(["<unk>", "<s>", "</s>", ...bytes, ...ascii, "\u2581", ...pieces]),
      merges,
    },
  };
}

/** As Llama 3: byte-level alphabet, BOS and EOS only among the added tokens. */
export function llama3Json() {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let shifted = 0;
  const alphabet = Array.from(
    { length: 256 },
    (_, b) => String.fromCharCode(printable(b) ? b : 256 + shifted++),
  );
  const merges = [["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], ["\u0120", "hello"]];
  const vocab = vocabOf([...alphabet, ...merges.map((merge) => merge.join(""))]);
  const bos = Object.keys(vocab).length;
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [special(bos, "<|begin_of_text|>"), special(bos + 1, "<|eot_id|>")],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: beginsWith("<|begin_of_text|>", bos),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: true,
      vocab,
      merges,
    },
  };
}

export const llama2Config = {
  tokenizer_class: "LlamaTokenizer",
  bos_token: "<s>",
  eos_token: "</s>",
  unk_token: "<unk>",
  clean_up_tokenization_spaces: false,
};

export const llama3Config = {
  tokenizer_class: "PreTrainedTokenizerFast",
  bos_token: "<|begin_of_text|>",
  eos_token: "<|eot_id|>",
};

/** Writes the two files into `dir`, which is made if need be. */
export async function writeTokenizer(dir: string, tokenizerJson: unknown, config: unknown): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "tokenizer.json"), JSON.stringify(tokenizerJson));
  await writeFile(join(dir, "tokenizer_config.json"), JSON.stringify(config));
}
