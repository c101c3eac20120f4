/** What is said of an evaluation: the numbers of the published tables, and those that tell how far to trust them. */
import { exactInterval, type Interval } from "../rl/binomial.ts";
import { bootstrapMeans, type BootstrapOptions } from "../rl/bootstrap.ts";
import { hasHallucinatedTurn } from "../rl/conversation.ts";
import { comparePairs, type Judged, lengthControlledMean, slopePerWord } from "../rl/paired.ts";
import { isSafe, type Quadrant, summarizeSafety } from "../rl/quadrants.ts";
import { mean } from "../tracking/statistics.ts";
import type { Point } from "./points.ts";

/** Where the points come from. */
export interface SummarySource {
  /** The model, or the file of answers. */
  model: string;
  /** Whether a model made the answers here; else they came from a file. */
  used_policy_model: boolean;
  /** The prompts' file or split. */
  dataset_split: string;
  /** What gave the scores; null where it is not known. */
  reward_model: string | null;
  cost_model: string | null;
  /** By name. */
  preset: string;
  /** Settings that the answers were made with; null where they came from elsewhere. */
  settings: Readonly<Record<string, unknown>> | null;
}

/** A model that others are held against. */
export interface Base {
  name: string;
  points: readonly Point[];
}

interface SummaryOptions {
  seed: number;
  base?: Base;
}

/** The keys in front are those of the reference's classifier; safe_ratio and percents are in percent. */
export function summarize(points: readonly Point[], source: SummarySource, { seed, base }: SummaryOptions) {
  const { used_policy_model, reward_model, cost_model, dataset_split, ...more } = source;
  const rewards = points.map(({ reward }) => reward);
  const costs = points.map(({ cost }) => cost);
  const { counts, total, unsafeCount, safeRatio } = summarizeSafety(rewards, costs);
  const safe = costs.map((cost) => Number(isSafe(cost)));
  const [R_mean, C_mean, safe_ratio] = bootstrapMeans([rewards, costs, safe], { seed });
  return {
    counts,
    percents: mapped(counts, (count) => 100 * count / total),
    safe_ratio: 100 * safeRatio,
    R_mean: mean(rewards),
    R_std: populationDeviation(rewards),
    C_mean: mean(costs),
    C_std: populationDeviation(costs),
    num_points: total,
    used_policy_model,
    // The reference's, whose answers vLLM makes.
    used_vllm: false,
    policy_vllm_ckpt: "",
    dataset_split,
    reward_model,
    cost_model,
    ...more,
    unsafe_share: unsafeCount / total,
    unsafe_share_interval: exactInterval(unsafeCount, total),
    bootstrap: {
      resamples: 2000,
      level: 0.95,
      seed,
      R_mean,
      C_mean,
      safe_ratio: safe_ratio.map((share) => 100 * share),
    },
    clipped_share: shareOf(points.map(({ clipped }) => clipped)),
    fake_turn_share: shareOf(points.map((point) => point.fake_turn ?? hasHallucinatedTurn(point.response))),
    length: lengths(points),
    ...costsByName(points),
    ...categories(points),
    ...(base && { against_base: againstBase(points, base, { seed }) }),
  };
}

export type Summary = ReturnType<typeof summarize>;

const mapped = (counts: Record<Quadrant, number>, of: (count: number) => number) =>
  Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, of(count)])) as typeof counts;

/** Divisor n, as numpy's std. */
function populationDeviation(values: readonly number[]): number {
  const center = mean(values)!;
  return Math.sqrt(mean(values.map((value) => (value - center) ** 2))!);
}

/** Of the points of which it is known; null where it is known of none. */
function shareOf(flags: readonly (boolean | undefined)[]): number | null {
  const known = flags.filter((flag) => flag !== undefined);
  return known.length === 0 ? null : known.filter(Boolean).length / known.length;
}

const wordsOf = ({ response }: Point): number => response.match(/\S+/g)?.length ?? 0;

const judged = (points: readonly Point[], name: "reward" | "cost"): Judged => ({
  values: points.map((point) => point[name]),
  words: points.map(wordsOf),
});

/** Words are what white space parts, so that models of different tokenizers can be compared. */
function lengths(points: readonly Point[]) {
  const tokens = points.map((point) => point.tokens).filter((count) => count !== undefined);
  return {
    words_mean: mean(points.map(wordsOf)),
    tokens_mean: mean(tokens) ?? null,
    R_per_100_words: 100 * slopePerWord([judged(points, "reward")]),
    C_per_100_words: 100 * slopePerWord([judged(points, "cost")]),
  };
}

/** Of each cost that has a name: C_mean over the points that have it, and the share with C <= 0, in percent. */
function costsByName(points: readonly Point[]) {
  const names = new Set(points.flatMap(({ scores = {} }) => Object.keys(scores)));
  const rows = [...names].filter((name) => name.startsWith("costs/")).map((name) => {
    const costs = points.map(({ scores }) => scores?.[name] ?? null).filter((cost) => cost !== null);
    const unsafe = costs.filter((cost) => !isSafe(cost)).length;
    return [name.slice("costs/".length), {
      C_mean: mean(costs),
      safe_ratio: 100 * (1 - unsafe / costs.length),
      unsafe_share_interval: exactInterval(unsafe, costs.length),
    }] as const;
  }).filter(([, { C_mean }]) => C_mean !== undefined);
  return rows.length === 0 ? {} : { costs: Object.fromEntries(rows) };
}

/** A row for each category, the most frequent first; a point with several is in each. */
function categories(points: readonly Point[]) {
  const members = new Map<string, Point[]>();
  for (const point of points) {
    for (const name of new Set([point.category ?? []].flat())) {
      members.set(name, [...members.get(name) ?? [], point]);
    }
  }
  if (members.size === 0) return {};
  const rows = [...members].sort((a, b) => b[1].length - a[1].length).map(([name, those]) => {
    const unsafe = those.filter(({ cost }) => !isSafe(cost)).length;
    return [name, {
      num_points: those.length,
      safe_ratio: 100 * (1 - unsafe / those.length),
      unsafe_share_interval: exactInterval(unsafe, those.length),
      R_mean: mean(those.map(({ reward }) => reward)),
      C_mean: mean(those.map(({ cost }) => cost)),
    }] as const;
  });
  return { categories: Object.fromEntries(rows) };
}

/** Points of both that answer the same prompt; of one that is asked several times, in their order. */
export function pairsOf<P extends { prompt: string }>(own: readonly P[], other: readonly P[]): [P, P][] {
  const waiting = new Map<string, P[]>();
  for (const point of other) {
    const list = waiting.get(point.prompt);
    if (list) list.push(point);
    else waiting.set(point.prompt, [point]);
  }
  return own.flatMap((point): [P, P][] => {
    const twin = waiting.get(point.prompt)?.shift();
    return twin === undefined ? [] : [[point, twin]];
  });
}

/** What is better where costs are held against each other is the lower one. */
function againstBase(points: readonly Point[], base: Base, options: BootstrapOptions) {
  const pairs = pairsOf(points, base.points);
  if (pairs.length === 0) {
    throw new RangeError(
      `Cannot compare with the base ${base.name}: required answers to the same prompts, got none that both have; ` +
        "evaluate both on one file of prompts",
    );
  }
  const [own, other] = [pairs.map(([point]) => point), pairs.map(([, point]) => point)];
  const compared = (name: "reward" | "cost") =>
    comparePairs(judged(own, name).values, judged(other, name).values, name === "cost", options);
  const controlled = (name: "reward" | "cost") =>
    lengthControlledMean(judged(own, name), judged(other, name));
  return {
    base: base.name,
    num_pairs: pairs.length,
    reward: compared("reward"),
    cost: compared("cost"),
    safe: comparePairs(safeties(own), safeties(other), false, options),
    ...klOf(points),
    words_mean_base: mean(other.map(wordsOf)),
    R_mean_length_controlled: controlled("reward"),
    C_mean_length_controlled: controlled("cost"),
  };
}

/** Over the answers of the model itself, where it was held against the base's distributions. */
function klOf(points: readonly Point[]) {
  const known = points.filter(({ kl, tokens }) => kl !== undefined && tokens !== undefined);
  if (known.length === 0) return {};
  const sum = (of: (point: Point) => number) => known.reduce((total, point) => total + of(point), 0);
  const nats = sum(({ kl }) => kl!);
  return { kl_per_token: nats / sum(({ tokens }) => tokens!), kl_per_answer: nats / known.length };
}

const safeties = (points: readonly Point[]) => points.map(({ cost }) => Number(isSafe(cost)));

/** The line that a terminal shows of a summary. */
export function summaryLine(tag: string, { counts, safe_ratio, R_mean, C_mean, ...rest }: Summary): string {
  const [low, high] = rest.unsafe_share_interval.map((share: Interval[number]) => (100 * share).toFixed(1));
  const inPercent = (share: number | null) => share === null ? "unknown" : `${(100 * share).toFixed(1)} %`;
  const against = rest.against_base;
  const wins = against
    ? `; beats ${against.base} in ${inPercent(against.reward.win_rate.rate)} by reward, ${
      inPercent(against.cost.win_rate.rate)
    } by cost` +
      (against.kl_per_token === undefined ? "" : `, KL ${against.kl_per_token.toFixed(4)} nats per token`)
    : "";
  return `${tag}: R ${R_mean?.toFixed(3)}, C ${C_mean?.toFixed(3)}, safe ${safe_ratio.toFixed(2)} % ` +
    `(unsafe ${low} to ${high} %), SH ${counts.SH}, SU ${counts.SU}, UH ${counts.UH}, UU ${counts.UU}; ` +
    `clipped ${inPercent(rest.clipped_share)}, fake turns ${inPercent(rest.fake_turn_share)}${wins}`;
}
