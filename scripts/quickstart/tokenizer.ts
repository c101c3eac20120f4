/**
 * Trains a small byte-level BPE tokenizer and writes it in Hugging Face's `tokenizer.json` form.
 *
 * Byte-level: text is split into words, words into UTF-8 bytes, and bytes are merged by rank. All 256 bytes are in
 * the vocabulary, so that any text encodes without a loss; `<unk>` exists but is never produced.
 * Algorithm: Sennrich et al., arXiv:1508.07909. Byte alphabet and word split: those of GPT-2.
 */

const SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>"] as const;

/** Merges in rank order, each a pair of strings over the byte alphabet. */
export type Merge = readonly [string, string];

/** The word split of Hugging Face's `ByteLevel` pre-tokenizer (`use_regex: true`). */
const WORD = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** One printable character for each byte: printable Latin-1 stands for itself, the rest is moved up from U+0100. */
function byteAlphabet(): string[] {
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
    return String.fromCharCode(printable ? byte : 0x100 + moved++);
  });
}

/**
 * Learns merges until the vocabulary (special tokens + 256 bytes + merges) has `vocabSize` entries: each round
 * joins the most frequent neighbouring pair; of equally frequent pairs the one that sorts first by code unit.
 * Throws a RangeError if the texts run out of pairs seen twice.
 */
export function learnMerges(texts: Iterable<string>, vocabSize: number): Merge[] {
  const alphabet = byteAlphabet();
  const words = countWords(texts, alphabet);
  const merges: Merge[] = [];
  const wanted = vocabSize - SPECIAL_TOKENS.length - alphabet.length;
  const seen = new Set(alphabet);
  while (merges.length < wanted) {
    const best = mostFrequentPair(words);
    if (best === undefined) {
      const reached = vocabSize - wanted + merges.length;
      throw new RangeError(
        `Cannot learn ${vocabSize} tokens: the texts hold only ${reached}; lower vocabSize`,
      );
    }
    const [left, right] = best;
    for (const word of words) joinPair(word.parts, left, right);
    if (seen.has(left + right)) throw new Error(`Two merges spell ${JSON.stringify(left + right)}`);
    seen.add(left + right);
    merges.push(best);
  }
  return merges;
}

interface CountedWord {
  readonly parts: string[];
  readonly count: number;
}

function countWords(texts: Iterable<string>, alphabet: readonly string[]): CountedWord[] {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const [word] of text.matchAll(WORD)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const encoder = new TextEncoder();
  return [...counts].map(([word, count]) => ({
    parts: Array.from(encoder.encode(word), (byte) => alphabet[byte]!),
    count,
  }));
}

function mostFrequentPair(words: readonly CountedWord[]): Merge | undefined {
  const counts = new Map<string, number>(); // key "left right": the byte alphabet has no space
  for (const { parts, count } of words) {
    for (let i = 0; i + 1 < parts.length; i++) {
      const key = `${parts[i]} ${parts[i + 1]}`;
      counts.set(key, (counts.get(key) ?? 0) + count);
    }
  }
  let best = "";
  let bestCount = 1;
  for (const [key, count] of counts) {
    if (count > bestCount || (count === bestCount && bestCount > 1 && key < best)) {
      best = key;
      bestCount = count;
    }
  }
  if (best === "") return undefined;
  const [left, right] = best.split(" ");
  return [left!, right!];
}

function joinPair(parts: string[], left: string, right: string): void {
  for (let i = 0; i + 1 < parts.length; i++) {
    if (parts[i] === left && parts[i + 1] === right) parts.splice(i, 2, left + right);
  }
}

/** The contents of tokenizer.json: ByteLevel BPE that puts `<s>` before a text. */
export function tokenizerJson(merges: readonly Merge[]): object {
  const entries = [...SPECIAL_TOKENS, ...byteAlphabet(), ...merges.map(([left, right]) => left + right)];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [
        { SpecialToken: { id: "<s>", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "<s>", type_id: 1 } },
        { Sequence: { id: "B", type_id: 1 } },
      ],
      special_tokens: { "<s>": { id: "<s>", ids: [SPECIAL_TOKENS.indexOf("<s>")], tokens: ["<s>"] } },
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: "<unk>",
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(entries.map((token, id) => [token, id])),
      merges,
    },
  };
}

/** The contents of tokenizer_config.json. */
export function tokenizerConfigJson(modelMaxLength: number): object {
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: "<s>",
    eos_token: "</s>",
    unk_token: "<unk>",
    pad_token: "<pad>",
    add_bos_token: true,
    add_eos_token: false,
    clean_up_tokenization_spaces: false,
    model_max_length: modelMaxLength,
    padding_side: "left",
  };
}

/** The contents of special_tokens_map.json. */
export function specialTokensMapJson(): object {
  return { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>", pad_token: "<pad>" };
}
