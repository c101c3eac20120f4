/** A model evaluated by itself: greedy completions of the eval prompts, scored. */
import { join } from "node:path";
import { constraintsOf } from "../config/constraints.ts";
import type { EvalPreset } from "../config/eval_presets.ts";
import type { RunConfig } from "../config/sweep.ts";
import { bigintText, evaluateInParts, judgementsOf, settingsOfAnswers } from "../evaluate/parts.ts";
import type { EvalPrompt } from "../evaluate/evaluate.ts";
import type { Point } from "../evaluate/points.ts";
import { openGpu } from "../gpu/device.ts";
import { enterPhase } from "../gpu/failure.ts";
import { setMatmulPrecision } from "../gpu/precision.ts";
import { makeFolders, writeFileAtomic } from "../io/files/atomic_files.ts";
import { textSha256 } from "../io/files/sha256.ts";
import type { PromptRow } from "../io/prompts/prompts.ts";
import { disposePolicyWeights } from "../policy/adapters.ts";
import { NonfinitePolicyError } from "../policy/nonfinite.ts";
import { matmulPrecisionOf } from "../policy/precision.ts";
import { disposeTrunk } from "../policy/transformer.ts";
import { summarizeSafety } from "../rl/quadrants.ts";
import type { Scorer } from "../scorer/protocol.ts";
import { evalRow } from "../tracking/metrics.ts";
import { trainedModel } from "./evaluated_run.ts";
import { openTurnNotice } from "./ends.ts";
import type { AssemblyEvents } from "./events.ts";
import { resolveModel, scoreModelHashes } from "./hub.ts";
import { type LoadedPolicy, loadPolicy, loadTokenizerOf } from "./models.ts";
import { lengthsOf, loadEvalPrompts, longestSequence } from "./prompts.ts";
import { startingHashes } from "./run_folder.ts";
import { beginScorer } from "./scorer.ts";

export interface EvaluationEvents extends AssemblyEvents {
  onCompleted?(promptsDone: number, prompts: number): void;
  /** Of answers that are there already. */
  onScored?(answersDone: number, answers: number): void;
}

export interface EvaluatedModel {
  /** The model's name with its commit, and the means. */
  summary: Record<string, unknown>;
  samples: EvaluatedSample[];
}

/** A point whose response is called a completion, as everywhere in a run. */
export interface EvaluatedSample extends Omit<Point, "response"> {
  completion: string;
}

export interface EvaluationOptions {
  /** In the place of the model's own, or of lambda_cost; of each cost where there are several. */
  lambda?: number;
  /** As that of a run. */
  scorer?: Scorer;
  /** In the place of eval_jsonl. */
  rows?: readonly PromptRow[];
  /** A file that keeps what is done: an evaluation that was ended goes on where one of the same inputs left off. */
  kept?: string;
  /** A model of the same tokens; held beside the other, whose KL from it is then known of each answer. */
  klBase?: string;
  /** What scores are rounded to. Default float32: they are taken as they come. */
  scores?: EvalPreset["scores"];
}

function ofModel(name: string, cause: NonfinitePolicyError): NonfinitePolicyError {
  return new NonfinitePolicyError(
    `Cannot evaluate '${name}': ${cause.message}. Evaluate an earlier checkpoint, or set dtype and kv_cache_dtype to ` +
      "float32 where 16 bits are too few",
    { cause },
  );
}

/**
 * Evaluates the model of a run's settings. Where its folder is a run's, step and lambdas are those of that run, so that
 * the numbers are the ones that the run itself logged; else step 0 and lambda_cost.
 * @param lambda in the place of that lambda, as to compare models by it
 * @throws TypeError when there is no eval_jsonl
 * @throws ScorerUnavailableError when no healthy scorer answers
 * @throws RangeError when klBase is a model of other tokens
 * @throws NonfinitePolicyError when the model's logits are no numbers; it names the model
 * @throws Error when the model or the prompts, which it names, do not fit
 */
export async function evaluateModel(
  config: RunConfig,
  events: EvaluationEvents = {},
  { lambda: givenLambda, scorer: givenScorer, rows: givenRows, kept, klBase, scores = "float32" }:
    EvaluationOptions = {},
): Promise<EvaluatedModel> {
  if (config.eval_jsonl === null && !givenRows) {
    throw new TypeError("Cannot evaluate: eval_jsonl is null; set it to a file of prompts");
  }
  const { info } = await openGpu();
  enterPhase("loading");
  setMatmulPrecision(matmulPrecisionOf(config));
  const openScorer = await beginScorer(config, { device: info.name, scorer: givenScorer, events });
  const { name: modelName } = await resolveModel(config.model_name, events);
  const trained = await trainedModel(modelName);
  const lambdas = constraintsOf(config).map(({ name, settings }) => ({
    name,
    value: givenLambda ?? trained?.lambdas.get(name) ?? settings.lambda_cost,
  }));
  const tokenizer = await loadTokenizerOf(modelName, events);
  const prompts = await loadEvalPrompts(givenRows ?? config.eval_jsonl!, tokenizer, config, events);
  const mostPositions = longestSequence(lengthsOf({ prompts, evalPrompts: null }), config);
  const loaded = await loadPolicy(modelName, "frozen", {
    tokenizer,
    eosTokenIds: config.eos_token_ids,
    mostPositions,
    events,
  });
  const { policy, ends } = loaded;
  let base: LoadedPolicy | null = null;
  try {
    base = klBase === undefined ? null : await loadPolicy(klBase, "frozen", { mostPositions, events });
    if (base) assertSameTokens(loaded, base, prompts);
    const notice = await openTurnNotice(tokenizer, ends, config);
    if (notice !== null) events.onMessage?.(notice);
    const { scorer, close } = await openScorer(config);
    try {
      enterPhase("the evaluation");
      const inputs = kept === undefined ? null : {
        model: await startingHashes({ ...loaded, template: null }),
        prompts: textSha256(JSON.stringify(prompts.map(({ ids, columns }) => [ids, columns], bigintText))),
        settings: settingsOfAnswers(config),
        scorers: await scoreModelHashes(config, givenScorer),
        scores,
        ...(base && { klBase: await startingHashes({ ...base, template: null }) }),
      };
      const points = await evaluateInParts(
        { policy, tokenizer, scorer, prompts, config, onProgress: events.onCompleted, klBase: base?.policy },
        { path: kept, inputs, scores, onMessage: events.onMessage },
      ).catch((error) => {
        throw error instanceof NonfinitePolicyError ? ofModel(modelName, error) : error;
      });
      const judged = judgementsOf(points, config, lambdas.map(({ value }) => value));
      const summary = {
        model_name: modelName,
        ...evalRow({ step: trained?.step ?? 0, lambdas, ...judged }),
        ...summarizeSafety(judged.rewards, judged.costs),
      };
      const samples = points.map(({ response, ...point }) => ({ ...point, completion: response }));
      return { summary, samples };
    } finally {
      await close();
    }
  } finally {
    for (const one of [policy, ...base ? [base.policy] : []]) {
      disposePolicyWeights(one);
      disposeTrunk(one);
    }
  }
}

/** @throws RangeError when the models' tokenizers read a prompt otherwise, or their vocabularies differ in size */
function assertSameTokens(own: LoadedPolicy, base: LoadedPolicy, prompts: readonly EvalPrompt[]): void {
  const [size, other] = [own, base].map(({ policy }) => policy.config.vocabSize);
  const idsOf = ({ tokenizer }: LoadedPolicy, text: string) => tokenizer.encodeWithoutSpecial(text).join(" ");
  const differing = prompts.find(({ user }) => idsOf(own, user) !== idsOf(base, user));
  if (size === other && differing === undefined) return;
  const found = size !== other
    ? `vocabularies of ${size} and ${other} tokens`
    : "tokenizers that read a prompt otherwise";
  throw new RangeError(
    `Cannot take the KL of '${own.base.name}' from '${base.base.name}': required models of the same tokens, found ` +
      `${found}; leave out --kl`,
  );
}

/**
 * Writes eval.json, the means, and eval_samples.jsonl, every completion with its scores.
 * @throws Error when the folder cannot be written to
 */
export async function writeEvaluation(folder: string, { summary, samples }: EvaluatedModel): Promise<void> {
  await makeFolders(folder);
  await writeFileAtomic(join(folder, "eval.json"), `${JSON.stringify(summary, null, 2)}\n`);
  await writeFileAtomic(
    join(folder, "eval_samples.jsonl"),
    samples.map((sample) => `${JSON.stringify(sample)}\n`).join(""),
  );
}
