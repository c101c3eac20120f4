/** Token ids and conversation texts, against transformers and safe-rlhf's format (golden/make/text.py). */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadPolicy } from "../../src/assembly/models.ts";
import { conversationIds } from "../../src/assembly/score_texts.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { evaluatePolicy } from "../../src/evaluate/evaluate.ts";
import { beaverFormat, openPromptFormat } from "../../src/io/prompts/prompt_format.ts";
import { loadTokenizer, type Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { disposeTrunk } from "../../src/policy/transformer.ts";
import { formatConversation, type Message } from "../../src/rl/conversation.ts";
import type { Answer } from "../../src/scorer/protocol.ts";
import { encodePrompts } from "../../src/train/prompts.ts";
import { differences, type ParityLine } from "./line.ts";

interface TokenizerGolden {
  vocab_size: number;
  eos_id: number;
  /** Of each string: tokenizer(text), ids as plain text (null: the same without BOS), decoded (null: the string). */
  rows: [ids: number[], plain: number[] | null, decoded: string | null][];
  decodes: [ids: number[], whole: string, withoutSpecial: string][];
}

interface Conversation {
  user: string;
  answer: string;
  prompt: string;
  conversation: string;
  ids: Record<string, [prompt: number[], scored: number[]]>;
}

const FOLDER = new URL("../golden/text/", import.meta.url);
const QUICKSTART = fileURLToPath(new URL("../../models/quickstart/policy", import.meta.url));
const readGolden = <T>(name: string): T => JSON.parse(readFileSync(new URL(name, FOLDER), "utf8"));

const IDS = readGolden<{ strings: string[]; tokenizers: Record<string, TokenizerGolden> }>("ids.json");
const CONVERSATIONS = readGolden<{ rows: Conversation[] }>("conversations.json").rows;

interface ChatGolden {
  conversations: Message[][];
  styles: Record<string, { arguments: Record<string, unknown>; hashes: string[]; ids: (number[] | null)[] }>;
}
const CHATS = readGolden<ChatGolden>("../chat_templates/conversations.json");

function load(name: string): Promise<Tokenizer> {
  return loadTokenizer(name === "quickstart" ? QUICKSTART : fileURLToPath(new URL(name, FOLDER)));
}

function encodeDifferences(tokenizer: Tokenizer, { rows, vocab_size, eos_id }: TokenizerGolden): number {
  let count = differences([tokenizer.vocabSize, tokenizer.eosId], [vocab_size, eos_id]);
  for (const [i, [ids, plain]] of rows.entries()) {
    count += differences(tokenizer.encode(IDS.strings[i]), ids);
    count += differences(tokenizer.encodeWithoutSpecial(IDS.strings[i]), plain ?? ids.slice(1));
  }
  return count;
}

function decodeDifferences(tokenizer: Tokenizer, { rows, decodes }: TokenizerGolden): number {
  const got: string[] = [], expected: string[] = [];
  for (const [i, [ids, , decoded]] of rows.entries()) {
    got.push(tokenizer.decode(ids, { skipSpecialTokens: true }));
    expected.push(decoded ?? IDS.strings[i]);
  }
  for (const [ids, whole, withoutSpecial] of decodes) {
    got.push(tokenizer.decode(ids), tokenizer.decode(ids, { skipSpecialTokens: true }));
    expected.push(whole, withoutSpecial);
  }
  return differences(got, expected);
}

function tokenizerLine(name: string, what: string, reference = "transformers"): ParityLine {
  const golden = IDS.tokenizers[name];
  return {
    what: `${what}: ids of ${IDS.strings.length} hard strings, of each as plain text, and back; ` +
      `text of ${golden.decodes.length} random lists of ids`,
    reference,
    measure: "ids and texts that differ",
    limit: 0,
    worst: async () => {
      const tokenizer = await load(name);
      return encodeDifferences(tokenizer, golden) + decodeDifferences(tokenizer, golden);
    },
  };
}

/** Prompts of the training and of the evaluation set, and what the score model reads of each with an answer. */
function conversationDifferences(name: string, tokenizer: Tokenizer): number {
  const prompts = encodePrompts(
    beaverFormat(tokenizer),
    CONVERSATIONS.map(({ user }, row) => ({ prompt: user, place: `row ${row}`, columns: {} })),
    { maxPromptLength: 4096 },
  );
  let count = 0;
  for (const [i, { answer, conversation, ids }] of CONVERSATIONS.entries()) {
    const { user, ids: promptIds } = prompts[i];
    const text = formatConversation(user, answer);
    count += differences(promptIds, ids[name][0]) + differences([text], [conversation]);
    count += differences(conversationIds(tokenizer, text, 4096).ids, ids[name][1]);
  }
  return count;
}

/** Evaluates a policy on the prompts with a scorer that writes down what it is sent. */
async function evaluationDifferences(): Promise<number> {
  const { policy, tokenizer } = await loadPolicy(QUICKSTART, "frozen");
  const rows = CONVERSATIONS.filter((_, i) => i % 4 === 1);
  const [config] = sweepRuns({ ...defaultConfig(), max_completion_length: 4, eval_batch_size: rows.length });
  const sent: string[] = [];
  const scorer = {
    score(answers: readonly Answer[]) {
      sent.push(
        ...answers.flatMap(({ prompt, completion }) => [
          prompt,
          completion,
          formatConversation(prompt, completion),
        ]),
      );
      return Promise.resolve({ rewards: answers.map(() => 0), costs: answers.map(() => 0) });
    },
  };
  try {
    const prompts = encodePrompts(
      beaverFormat(tokenizer),
      rows.map(({ user }, row) => ({ prompt: user, place: `row ${row}`, columns: {} })),
      { maxPromptLength: 4096 },
    );
    const { completions } = await evaluatePolicy({ policy, tokenizer, scorer, prompts, config }, [0]);
    const expected = rows.flatMap((row, i) => [prompts[i].user, completions[i], row.prompt + completions[i]]);
    return differences(sent, expected);
  } finally {
    disposeTrunk(policy);
  }
}

function conversationLine(name: string, what: string): ParityLine {
  return {
    what:
      `${what}: ids of ${CONVERSATIONS.length} prompts in training and evaluation, text and ids that are scored`,
    reference: "safe-rlhf's format, ids by transformers",
    measure: "ids and texts that differ",
    limit: 0,
    worst: async () => conversationDifferences(name, await load(name)),
  };
}

/** The line of a style of chat templates (golden/make/chat_templates.py). */
function chatLine(style: string): ParityLine {
  return {
    what:
      `chat template in the style of ${style}: ids of ${CHATS.conversations.length} conversations, half of them ` +
      "with control tokens, odd spaces and the like in messages; what the template refuses",
    reference: "transformers' apply_chat_template",
    measure: "conversations that differ",
    limit: 0,
    worst: () => chatDifferences(style),
  };
}

async function chatDifferences(style: string): Promise<number> {
  const golden = CHATS.styles[style];
  const tokenizer = await loadTokenizer(fileURLToPath(new URL(`../chat_templates/${style}`, FOLDER)));
  const settings = { chatTemplate: "model", systemPrompt: null, templateKwargs: golden.arguments };
  const format = await openPromptFormat(tokenizer, settings);
  const hashes = CHATS.conversations.map((messages) => {
    try {
      const { ids } = format.encode(messages, 4096);
      return createHash("sha256").update(ids.join(",")).digest("hex").slice(0, 12);
    } catch (error) {
      if (error instanceof Error && /refuses it/.test(error.message)) return "refused";
      throw error;
    }
  });
  return differences(hashes, golden.hashes);
}

export const lines: ParityLine[] = [
  tokenizerLine("llama2_model", "tokenizer.model alone", "sentencepiece"),
  tokenizerLine("llama2_files", "tokenizer.model with added tokens, legacy", "sentencepiece"),
  tokenizerLine("spaces_model", "tokenizer.model with equal scores", "sentencepiece"),
  tokenizerLine("unigram_model", "Unigram tokenizer.model with replacements", "sentencepiece"),
  tokenizerLine("llama2_json", "Llama 2 tokenizer.json"),
  tokenizerLine("llama2_legacy", "Llama 2 tokenizer.json, legacy"),
  tokenizerLine("llama2_prepend", "Llama 2 tokenizer.json of transformers 4"),
  tokenizerLine("llama3_json", "Llama 3 tokenizer.json"),
  tokenizerLine("bytes_json", "GPT-2 style tokenizer.json"),
  tokenizerLine("quickstart", "quickstart policy's tokenizer.json"),
  conversationLine("llama2_model", "tokenizer.model alone"),
  conversationLine("llama2_prepend", "Llama 2 tokenizer.json of transformers 4"),
  conversationLine("quickstart", "quickstart policy's tokenizer.json"),
  ...Object.keys(CHATS.styles).map(chatLine),
  {
    what: "evaluation sends the scorer user text and completion, unsplit, as training does",
    reference: "safe-rlhf's format",
    measure: "texts that differ",
    limit: 0,
    worst: evaluationDifferences,
  },
];
