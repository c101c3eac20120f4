/** Scores of LlamaForScore checkpoints, against safe-rlhf's definition in plain PyTorch (golden/make/scores.py). */
import { readFileSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { randomFloats } from "../cases/case.ts";
import { loadScorers } from "../../src/assembly/score_models.ts";
import { openModelFolder } from "../../src/io/model/model_folder.ts";
import {
  disposeScoreModel,
  loadScoreModel,
  type ScoreModel,
  scoreSequences,
} from "../../src/policy/score_model.ts";
import { parseScoreConfig } from "../../src/policy/score_config.ts";
import { formatConversation } from "../../src/rl/conversation.ts";
import type { Scores } from "../../src/scorer/protocol.ts";
import { serveScorer } from "../../src/scorer/serve.ts";
import { differences, type ParityLine, worstOfRowMax } from "./line.ts";

interface Case {
  /** And folder. */
  name: string;
  sequences: number[][];
  /** By f32 arithmetic. */
  scores: number[];
  /** By bf16 arithmetic, where the weights are bf16. */
  bf16_scores?: number[];
  /** Of the conversations, where the vocabulary is that of tokenizer/. */
  text_scores?: number[];
}

interface Golden {
  prompts: string[];
  responses: string[];
  cases: Case[];
}

const ROOT = new URL("../golden/scores/", import.meta.url);
const golden: Golden = JSON.parse(readFileSync(new URL("scores.json", ROOT), "utf8"));
const folderOf = (name: string) => fileURLToPath(new URL(name, ROOT));

/** The two that have the tokenizer's vocabulary. */
const REWARD = "reward_bias_normalized";
const COST = "cost_normalized";
/** One in f32, one in bf16 with grouped key heads, one in bf16 without. */
const MOVED = ["cost_bias", "reward_normalized", "reward_bias"];

const caseOf = (name: string) => golden.cases.find((one) => one.name === name)!;

/** Loads a checkpoint by the program's own loader, runs `body` and frees it. */
async function withModel<R>(name: string, body: (model: ScoreModel) => Promise<R>): Promise<R> {
  const folder = await openModelFolder(folderOf(name));
  const model = await loadScoreModel(folder.source, parseScoreConfig(folder.configText, folder.configPath));
  await folder.close();
  try {
    return await body(model);
  } finally {
    disposeScoreModel(model);
  }
}

async function worstOf(measure: (one: Case, model: ScoreModel) => Promise<number>, cases: readonly Case[]) {
  let worst = 0;
  for (const one of cases) {
    worst = Math.max(worst, await withModel(one.name, (model) => measure(one, model)));
  }
  return worst;
}

async function scoreError({ sequences, scores }: Case, model: ScoreModel): Promise<number> {
  return worstOfRowMax(await scoreSequences(model, sequences), scores, scores.length);
}

/** Our largest error as a share of the error that bf16 arithmetic makes, both against f32 arithmetic. */
async function shareOfBf16Gap({ sequences, scores, bf16_scores }: Case, model: ScoreModel): Promise<number> {
  const ours = await scoreSequences(model, sequences);
  return worstOfRowMax(ours, scores, scores.length) / worstOfRowMax(bf16_scores!, scores, scores.length);
}

/** Scores that move when texts are scored alone, in another order, or beside texts that are far longer. */
async function movedScores({ sequences }: Case, model: ScoreModel): Promise<number> {
  const together = await scoreSequences(model, sequences);
  const alone: number[] = [];
  for (const sequence of sequences) alone.push(...await scoreSequences(model, [sequence]));
  const reversed = (await scoreSequences(model, sequences.toReversed())).reverse();
  const long = Array.from(randomFloats(5, 230, 25), (value) => 30 + Math.trunc(value));
  const beside = await scoreSequences(model, [long, ...sequences.flatMap((sequence) => [sequence, long])]);
  return differences(alone, together) + differences(reversed, together) +
    differences(beside.filter((_, i) => i % 2 === 1), together);
}

type Answers = Record<"score" | "score_batch" | "score_texts", Scores>;

/** What the scorer service answers on its three paths for the golden conversations. */
async function askService(): Promise<Answers> {
  const dir = await mkdtemp(join(tmpdir(), "grpo-scores-"));
  try {
    for (const name of [REWARD, COST]) {
      await cp(folderOf(name), join(dir, name), { recursive: true });
      await cp(folderOf("tokenizer"), join(dir, name), { recursive: true });
    }
    const models = await loadScorers({
      reward: join(dir, REWARD),
      costs: [{ name: null, model: join(dir, COST) }],
      maxLength: 512,
    });
    const service = await serveScorer({ scoreTexts: models.scoreTexts, device: "test" });
    const post = async (path: string, body: unknown): Promise<Scores> => {
      const response = await fetch(`${service.url}/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      return await response.json() as Scores;
    };
    const { prompts, responses } = golden;
    const texts = prompts.map((prompt, i) => formatConversation(prompt, responses[i]));
    const pairs = { prompts, responses };
    const answers = {
      score: await post("score", pairs),
      score_batch: await post("score_batch", pairs),
      score_texts: await post("score_texts", { texts }),
    };
    await service.close();
    models.dispose();
    return answers;
  } finally {
    await rm(dir, { recursive: true });
  }
}

let answers: Promise<Answers> | undefined;
/** Asked once, for both lines. */
const overHttp = () => answers ??= askService();

async function worstOverHttp(): Promise<number> {
  const { score_batch: { rewards, costs } } = await overHttp();
  const count = golden.prompts.length;
  return worstOfRowMax(
    [...rewards, ...costs],
    [...caseOf(REWARD).text_scores!, ...caseOf(COST).text_scores!],
    count,
  );
}

async function differencesOfPaths(): Promise<number> {
  const { score, score_batch, score_texts } = await overHttp();
  const flat = ({ rewards, costs }: Scores) => [...rewards, ...costs];
  return differences(flat(score), flat(score_batch)) + differences(flat(score_texts), flat(score_batch));
}

const SAFE_RLHF = "safe-rlhf's LlamaForScore, restated over transformers' LlamaModel";

export const lines: ParityLine[] = [
  {
    what: "Scores: bias or none, normalizer on or off, reward or cost, unequal lengths",
    reference: `${SAFE_RLHF}, right-padded batch, f32 arithmetic`,
    measure: "of the batch's max",
    limit: 5e-6,
    worst: () => worstOf(scoreError, golden.cases),
  },
  {
    what: "Scores of bf16 weights",
    reference: `${SAFE_RLHF}, bf16 against f32 arithmetic`,
    measure: "error as a share of the reference's own",
    limit: 1,
    reason: "both errors are taken against f32 arithmetic on the same bf16 weights",
    worst: () => worstOf(shareOfBf16Gap, golden.cases.filter((one) => one.bf16_scores)),
  },
  {
    what: "A text's score alone, in another order, and beside far longer texts",
    reference: "the score in the first batch",
    measure: "scores that differ in a bit",
    limit: 0,
    worst: () => worstOf(movedScores, MOVED.map(caseOf)),
  },
  {
    what: "Conversations over HTTP: template, tokenizer, BOS and EOS, score",
    reference: `${SAFE_RLHF} and transformers' tokenizers, f32 arithmetic`,
    measure: "of the batch's max",
    limit: 5e-6,
    worst: worstOverHttp,
  },
  {
    what: "The same conversations through /score, /score_batch and /score_texts",
    reference: "/score_batch",
    measure: "scores that differ in a bit",
    limit: 0,
    worst: differencesOfPaths,
  },
];
