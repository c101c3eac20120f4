/** Faults of how a text becomes ids (src/io/tokenizer). */
import type { Fault } from "../fault.ts";

const SENTENCEPIECE = ["unit/sentencepiece.test.ts", "parity/parity.test.ts#Tokenizer and template"];

export const faults: readonly Fault[] = [
  {
    file: "src/io/tokenizer/sentencepiece/bpe.ts",
    find: "a.score > b.score || (a.score === b.score && a.left < b.left)",
    replace: "a.score > b.score",
    harm:
      "of equal scores any neighbours are merged first: runs of spaces get other ids than in pre-training",
    tests: SENTENCEPIECE,
  },
  {
    file: "src/io/tokenizer/sentencepiece/bpe.ts",
    find: "if (parts[left].length + parts[right].length !== length) continue;",
    replace: "",
    harm: "a merge that was found before its parts grew makes a token that is none",
    tests: SENTENCEPIECE,
  },
  {
    file: "src/io/tokenizer/sentencepiece/bpe.ts",
    find: " || isWhole[left] || isWhole[right]",
    replace: "",
    harm: "a user-defined piece is merged with the text beside it",
    tests: SENTENCEPIECE,
  },
  {
    file: "src/io/tokenizer/sentencepiece/bpe.ts",
    find: "if (unusedTexts.has(whole)) halves.set(",
    replace: "if (unusedTexts.has(left + right + whole)) halves.set(",
    harm: "prompts hold pieces that the model was never trained with",
    tests: SENTENCEPIECE,
  },
  {
    file: "src/io/tokenizer/sentencepiece/unigram.ts",
    find: "score > best[end].score",
    replace: "score >= best[end].score",
    harm: "of two ways to split a text that score the same, the other one is taken",
    tests: SENTENCEPIECE,
  },
  {
    file: "src/io/tokenizer/sentencepiece/normalize.ts",
    find: 'endsInSpace = rest.endsWith(" ");',
    replace: "endsInSpace = false;",
    harm: "a model that knows single spaces alone reads several",
    tests: SENTENCEPIECE,
  },
  {
    file: "src/io/tokenizer/sentencepiece/charsmap.ts",
    find: "longest = { text: replacementAt(units[node] & 0x7fffffff), bytes: i + 1 - at };",
    replace: "return { text: replacementAt(units[node] & 0x7fffffff), bytes: i + 1 - at };",
    harm: "characters with their marks are replaced one by one",
    tests: SENTENCEPIECE,
  },
  {
    file: "src/io/tokenizer/sentencepiece/coder.ts",
    find: "(i === 0 || config.legacy === true)",
    replace: "(config.legacy === true)",
    harm: "a prompt begins without the space that the model saw there in pre-training",
    tests: SENTENCEPIECE,
  },
  {
    file: "src/io/tokenizer/named_tokens.ts",
    find: '(key === "bos_token" && !hasConfig)',
    replace: 'key === "bos_token"',
    harm: "a score model whose tokenizer has no BOS reads one that config.json happens to name",
    tests: ["unit/tokenizer.test.ts"],
  },
  {
    file: "src/io/tokenizer/json_coder.ts",
    find: "plainJson.model.merges !== json.model.merges || ",
    replace: "",
    harm: "text of a user merges into </s>",
    tests: ["unit/tokenizer.test.ts", "unit/tokenizer_control.test.ts"],
  },
  {
    file: "src/io/tokenizer/tokenizer.ts",
    find: "return [tokens.filter(({ id }) => id < rows),",
    replace: "return [[...tokens],",
    harm:
      "a model whose tokenizer was given a padding token is refused, or a prompt holds an id without a row",
    tests: ["gpu/loaded_policy.test.ts"],
  },
  {
    file: "src/io/tokenizer/turn_end.ts",
    find: "behind.startsWith(content)",
    replace: "behind.includes(content)",
    harm: "a token that the template writes elsewhere passes for the end of an answer",
    tests: ["unit/ends.test.ts"],
  },
  {
    file: "src/assembly/ends.ts",
    find: "if (close === undefined || ends.some(({ id }) => id === close.id)) return null;",
    replace: "if (close === undefined || ends.length > 0) return null;",
    harm: "answers of a base model with a chat template run to their limit, and nobody is told why",
    tests: ["unit/ends.test.ts"],
  },
  {
    file: "src/io/tokenizer/added_token_spaces.ts",
    find: "/\\p{White_Space}+$/u",
    replace: "/\\s+$/u",
    harm: "a text loses a character before a control token that transformers keeps",
    tests: ["unit/tokenizer.test.ts"],
  },
  {
    file: "src/io/tokenizer/tokenizer.ts",
    find: "if (word !== undefined) {",
    replace: "if (word !== undefined && folder === word.content) {",
    harm: "a token that transformers takes for a whole word alone is found inside words",
    tests: ["unit/tokenizer.test.ts"],
  },
];
