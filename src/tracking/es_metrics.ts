/** What an iteration of evolution strategies logs, under the names of the program that it is held against. */
import { isSafe } from "../rl/quadrants.ts";
import {
  alignmentMetrics,
  checkJudgements,
  definedOnly,
  type Judgements,
  lambdaMetrics,
  lengthMetrics,
  type MetricRow,
  namedMetrics,
  share,
  type StepRecord,
} from "./metrics.ts";
import { extent, mean } from "./statistics.ts";

type OfStep =
  | "step"
  | "epoch"
  | "numTokens"
  | "lambdas"
  | "completionLengths"
  | "ends"
  | "hallucinatedTurns"
  | "truncatedPrompts"
  | "nonfiniteSteps"
  | "stepSeconds"
  | "phaseSeconds"
  | "asked";

/** One iteration over all ranks: rewards, costs and lengths are of all members' completions, member after member. */
export interface EsRecord extends Pick<StepRecord, OfStep>, Pick<Judgements, "rewards" | "costs" | "named"> {
  /** f_n of each member. */
  fitness: readonly number[];
  /** Of the policy itself, its completions in the order of the prompts. */
  unperturbed: Judgements & Pick<StepRecord, "completionLengths" | "ends">;
  /** Seconds that the update of the weights took, and those that the ranks took to tell each other of fitness. */
  updateSeconds: number;
  exchangeSeconds: number;
}

/**
 * The row of one iteration. combined/* are of the members' fitness, its deviation with divisor N, as the coefficients
 * take it; helpfulness, cost and safety of all members' completions; unperturbed/* of the policy's own.
 * @throws RangeError when the scores do not line up
 */
export function esRow(record: EsRecord): MetricRow {
  checkJudgements({ ...record, combined: record.rewards });
  checkJudgements(record.unperturbed);
  const { unperturbed, fitness } = record;
  const total = record.rewards.length + unperturbed.rewards.length;
  const tokens = record.completionLengths.reduce((sum, length) => sum + length, 0);
  const finite = fitness.filter(Number.isFinite);
  const [min, max] = extent(finite) ?? [];
  const center = mean(finite);
  const variance = mean(finite.map((value) => (value - center!) ** 2));
  return definedOnly({
    step: record.step,
    iteration: record.step,
    epoch: record.epoch,
    num_tokens: record.numTokens,
    nonfinite_steps: record.nonfiniteSteps > 0 ? record.nonfiniteSteps : undefined,
    ...alignmentMetrics({ ...record, combined: [] }),
    "combined/mean": center,
    "combined/std": variance === undefined ? undefined : Math.sqrt(variance),
    "combined/min": min,
    "combined/max": max,
    "unperturbed/helpfulness": mean(unperturbed.rewards),
    "unperturbed/cost": mean(unperturbed.costs),
    "unperturbed/safe_ratio": share(unperturbed.costs.filter(isSafe).length, unperturbed.costs.length),
    "unperturbed/total_count": unperturbed.costs.length,
    ...lambdaMetrics(record.lambdas),
    ...lengthMetrics(record),
    "completions/hallucinated_turn_ratio": share(record.hallucinatedTurns, total),
    "prompts/truncated_ratio": share(record.truncatedPrompts, total),
    "scorer/cut_fraction": record.asked?.cutFraction,
    ...namedMetrics({ ...record, combined: [] }),
    step_time: record.stepSeconds,
    tokens_per_second: share(tokens, record.stepSeconds),
    "seconds/generate": record.phaseSeconds.generate,
    "seconds/score": record.phaseSeconds.score,
    "seconds/update": record.phaseSeconds.update,
    "scorer/retries": record.asked?.retries,
    "scorer/wait_s": record.asked?.waitSeconds,
    "time/perturbation_application": record.updateSeconds,
    "time/broadcast": record.exchangeSeconds,
    "time/iteration": record.stepSeconds,
  });
}
