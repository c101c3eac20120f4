/** Scores of classifiers, against transformers' own (golden/make/sequence_classification.py). */
import { readFileSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadScorers } from "../../src/assembly/score_models.ts";
import { openConversationReader } from "../../src/assembly/score_texts.ts";
import { openModelFolder } from "../../src/io/model/model_folder.ts";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { parseScoreConfig } from "../../src/policy/score_config.ts";
import {
  disposeScoreModel,
  loadScoreModel,
  type ScoreModel,
  scoreSequences,
} from "../../src/policy/score_model.ts";
import { createScorerClient } from "../../src/scorer/client.ts";
import { serveScorer } from "../../src/scorer/serve.ts";
import { answers } from "../answers.ts";
import { differences, type ParityLine, worstOfRowMax } from "./line.ts";

interface Case {
  /** And folder. */
  name: string;
  sequences: number[][];
  /** A row for each sequence, a column for each label. */
  logits: number[][];
  /** Of the conversations, where the vocabulary is that of tokenizer/. */
  conversation_ids?: number[][];
  conversation_logits?: number[][];
}

interface Golden {
  /** Roles and contents; the last is the answer. */
  conversations: [role: string, content: string][][];
  cases: Case[];
}

const ROOT = new URL("../golden/sequence_classification/", import.meta.url);
const golden: Golden = JSON.parse(readFileSync(new URL("logits.json", ROOT), "utf8"));
const folderOf = (name: string) => fileURLToPath(new URL(name, ROOT));

/** Loads a label of a classifier by the program's own loader, runs `body` and frees it. */
async function withLabel<R>(
  name: string,
  label: number,
  body: (model: ScoreModel) => Promise<R>,
): Promise<R> {
  const { source, configText, configPath, close } = await openModelFolder(folderOf(name));
  const model = await loadScoreModel(source, parseScoreConfig(configText, configPath), { label });
  await close();
  try {
    return await body(model);
  } finally {
    disposeScoreModel(model);
  }
}

/** Every label of every model, each loaded as the score. */
async function worstLabel(): Promise<number> {
  let worst = 0;
  for (const { name, sequences, logits } of golden.cases) {
    for (let label = 0; label < logits[0].length; label++) {
      const scores = await withLabel(name, label, (model) => scoreSequences(model, sequences));
      worst = Math.max(worst, worstOfRowMax(scores, logits.map((row) => row[label]), scores.length));
    }
  }
  return worst;
}

/** Scores that move when texts are scored alone or in another order. */
async function movedScores(): Promise<number> {
  let moved = 0;
  for (const { name, sequences } of golden.cases) {
    moved += await withLabel(name, 0, async (model) => {
      const together = await scoreSequences(model, sequences);
      const alone: number[] = [];
      for (const sequence of sequences) alone.push(...await scoreSequences(model, [sequence]));
      const reversed = (await scoreSequences(model, sequences.toReversed())).reverse();
      return differences(alone, together) + differences(reversed, together);
    });
  }
  return moved;
}

/** The two that have the tokenizer's vocabulary, and of the second a label: its place and its name. */
const [REWARD, COST] = ["llama_one_label", "qwen2_three_labels"].map((name) =>
  golden.cases.find((one) => one.name === name)!
);
const COST_LABEL = 2;
const COST_LABEL_NAME = "unsafe";
const conversations = golden.conversations.map((turns) =>
  turns.map(([role, content]) => ({ role, content }))
);

/** Ids that differ, over all conversations. */
async function differentIds(): Promise<number> {
  const tokenizer = await loadTokenizer(folderOf("tokenizer"));
  const reader = await openConversationReader(tokenizer, true);
  return conversations.reduce(
    (count, conversation, i) =>
      count + differences(reader.read("", conversation, 4096).ids, REWARD.conversation_ids![i]),
    0,
  );
}

/** Scores of the conversations as a run gets them: by its client, from the service with both models. */
async function worstOverHttp(): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), "grpo-classifiers-"));
  try {
    for (const { name } of [REWARD, COST]) {
      await cp(folderOf(name), join(dir, name), { recursive: true });
      await cp(folderOf("tokenizer"), join(dir, name), { recursive: true });
    }
    const [reward, cost] = [REWARD, COST].map(({ name }) => join(dir, name));
    const { scoreTexts, wants, dispose } = await loadScorers({
      reward,
      costs: [{ name: null, model: cost, label: COST_LABEL_NAME }],
      maxLength: 512,
    });
    const service = await serveScorer({ scoreTexts, wants, device: "test" });
    const asked = conversations.map((conversation) => {
      const [messages, { content }] = [conversation.slice(0, -1), conversation.at(-1)!];
      return { ...answers([messages.at(-1)!.content], [content])[0], messages };
    });
    const { rewards, costs } = await createScorerClient({ url: service.url }).score(asked);
    await service.close();
    dispose();
    return worstOfRowMax(
      [...rewards, ...costs],
      [...REWARD.conversation_logits!.flat(), ...COST.conversation_logits!.map((row) => row[COST_LABEL])],
      conversations.length,
    );
  } finally {
    await rm(dir, { recursive: true });
  }
}

export const lines: ParityLine[] = [
  {
    what:
      "Scores of classifiers: one to three labels, padding of its own, the end token or none, padding inside",
    reference:
      "transformers' Gemma2-, Llama-, Mistral-, Qwen2- and Qwen3ForSequenceClassification, f32 arithmetic",
    measure: "of the batch's max",
    limit: 5e-6,
    worst: worstLabel,
  },
  {
    what: "A classifier's score of a text alone and in another order",
    reference: "the score in the first batch",
    measure: "scores that differ in a bit",
    limit: 0,
    worst: movedScores,
  },
  {
    what: "Conversations with their answers by a classifier's chat template",
    reference: "transformers' apply_chat_template",
    measure: "ids that differ",
    limit: 0,
    worst: differentIds,
  },
  {
    what:
      "The same over HTTP: messages, template, a reward and one of three labels as cost, padding as end token",
    reference: "transformers' Llama- and Qwen2ForSequenceClassification on apply_chat_template's ids",
    measure: "of the batch's max",
    limit: 5e-6,
    worst: worstOverHttp,
  },
];
