/**
 * Text Embeddings Inference's /predict: POST {"inputs": [[text] or [text, text], ...]} -> for each input a list of
 * {"score", "label"}, the highest score first. With raw_scores they are the model's logits.
 */
import { show } from "../messages.ts";
import type { Answer, ScoreKind } from "../protocol.ts";
import { type Asking, type ScorerApi, scoresOf, wrongLabel } from "./api.ts";
import { healthWithoutWords } from "./silent_health.ts";

interface Prediction {
  score: number;
  label: string;
}

function predictionsOf(row: unknown, i: number): Prediction[] {
  const isPrediction = (one: unknown) => {
    const { score, label } = (one ?? {}) as Record<string, unknown>;
    return Number.isFinite(score) && typeof label === "string";
  };
  if (Array.isArray(row) && row.length > 0 && row.every(isPrediction)) return row;
  throw new TypeError(`predictions ${i} are ${show(row)}; need a list of {"score": number, "label": "..."}`);
}

/** The score of a label by its name, or by its number where the model has no names and calls them LABEL_0, LABEL_1. */
function scoreOf(predictions: readonly Prediction[], kind: ScoreKind, { labels }: Asking): number {
  const label = labels[kind];
  if (predictions.length === 1 && (label === null || label === 0)) return predictions[0].score;
  const found = predictions.find((one) => one.label === label || one.label === `LABEL_${label}`);
  if (found) return found.score;
  const names = predictions.map((one) => `"${one.label}"`).sort().join(", ");
  throw wrongLabel(kind, label, predictions.length, names);
}

function textsOf({ prompt, completion, fullText }: Answer, { input }: Asking): string[] {
  if (input === "pair") return [prompt, completion];
  return [input === "completion" ? completion : fullText];
}

export const TEI_PREDICT: ScorerApi = {
  health: healthWithoutWords("Text Embeddings Inference"),
  request: (answers, asking) => ({
    path: "/predict",
    // A long text is cut, as the service would refuse it.
    body: { inputs: answers.map((answer) => textsOf(answer, asking)), raw_scores: true, truncate: true },
    read(json) {
      if (!Array.isArray(json)) throw new TypeError(`the answer is ${show(json)}; need a list`);
      if (json.length !== answers.length) {
        throw new TypeError(
          `the answer has ${json.length} lists; need one for each of ${answers.length} texts`,
        );
      }
      const rows = Array.from(json, predictionsOf);
      return scoresOf(asking.kinds, (kind) => rows.map((row) => scoreOf(row, kind, asking)));
    },
  }),
};
