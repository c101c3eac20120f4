/** Scores of classifiers, against transformers' own (golden/make/sequence_classification.py). */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { openModelFolder } from "../../src/io/model/model_folder.ts";
import { parseScoreConfig } from "../../src/policy/score_config.ts";
import {
  disposeScoreModel,
  loadScoreModel,
  type ScoreModel,
  scoreSequences,
} from "../../src/policy/score_model.ts";
import { differences, type ParityLine, worstOfRowMax } from "./line.ts";

interface Case {
  /** And folder. */
  name: string;
  sequences: number[][];
  /** A row for each sequence, a column for each label. */
  logits: number[][];
}

interface Golden {
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

export const lines: ParityLine[] = [
  {
    what:
      "Scores of classifiers: one to three labels, padding of its own, the end token or none, padding inside",
    reference: "transformers' Llama-, Mistral-, Qwen2- and Qwen3ForSequenceClassification, f32 arithmetic",
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
];
