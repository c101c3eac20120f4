/**
 * Optimizer steps of several ranks against TRL's GRPOTrainer in as many processes, groups lying across them;
 * test/golden/make/trl_ranks.py wrote the numbers.
 */
import { shuffledOrder, STREAM } from "../../src/rl/rng.ts";
import type { MetricName, MetricRow } from "../../src/tracking/metrics.ts";
import { differences, type ParityLine, worstRelative } from "./line.ts";
import {
  changeError,
  FOLDER_OF_RANKS,
  goldenOfRanks,
  type RunOfRanks,
  SEED,
  trainRanksOnce,
} from "./trl_runs.ts";

/** Of every rank. */
async function parameterError(name: RunOfRanks): Promise<number> {
  const file = new URL(`${name}_after.safetensors`, FOLDER_OF_RANKS);
  return Math.max(
    ...await Promise.all((await trainRanksOnce(name)).map((trained) => changeError(trained, file))),
  );
}

const LOGGED: MetricName[] = ["loss", "grad_norm"];

/** Of loss and gradient norm; a row of ours is the mean over the optimizer steps of a generation batch. */
async function loggedError(name: RunOfRanks): Promise<number> {
  const { steps } = goldenOfRanks.runs[name];
  const errorOf = (rows: MetricRow[]) => {
    const count = steps.length / rows.length;
    const meanOf = (g: number, metric: MetricName) =>
      steps.slice(g * count, (g + 1) * count).reduce((sum, step) => sum + (step[metric] as number), 0) /
      count;
    return Math.max(
      ...rows.flatMap((row, g) =>
        LOGGED.map((metric) => worstRelative([row[metric]!], [meanOf(g, metric)], 0.01))
      ),
    );
  };
  return Math.max(...(await trainRanksOnce(name)).map(({ rows }) => errorOf(rows)));
}

/** @param limit of the parameters' error, and of what is logged */
function linesOf(
  name: RunOfRanks,
  what: string,
  limit: { parameters: number; logged: number },
): ParityLine[] {
  const { processes, runs } = goldenOfRanks;
  const ranks = `${runs[name].steps.length} optimizer steps of ${processes} ranks`;
  const reference = `TRL GRPOTrainer.train in ${processes} processes, f32`;
  return [
    {
      what: `parameters after ${ranks}, a group across them, ${what}`,
      reference,
      measure: "relative Frobenius of the change",
      limit: limit.parameters,
      worst: () => parameterError(name),
    },
    {
      what: `loss and gradient norm of ${ranks}, ${what}`,
      reference,
      measure: "relative (to at least 0.01)",
      limit: limit.logged,
      worst: () => loggedError(name),
    },
  ];
}

export const lines: ParityLine[] = [
  ...linesOf("grpo", "grpo (KL, clipping, weight decay, accumulation 2, linear)", {
    parameters: 2e-5,
    logged: 2e-5,
  }),
  ...linesOf("dapo", "dapo (tokens of all ranks, batch scaling, truncated left out, accumulation 2)", {
    parameters: 2e-5,
    logged: 8e-6,
  }),
  ...linesOf("bnpo", "bnpo (micro-batches of all ranks, two steps per generation, rewards unscaled)", {
    parameters: 2e-5,
    logged: 2e-5,
  }),
  {
    what: "order in which each rank cuts its share of a generation batch into steps",
    reference: "the one given to TRL",
    measure: "places that differ",
    limit: 0,
    worst: () => {
      const { orders } = goldenOfRanks.runs.bnpo;
      return orders.reduce(
        (sum, order, g) =>
          sum + differences([...shuffledOrder(order.length, SEED, 1 + 2 * g, STREAM.minibatch)], order),
        0,
      );
    },
  },
];
