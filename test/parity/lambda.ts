/** The lambda rule over random sequences of costs, against Python doubles (golden/make/lambda_rule.py). */
import { readFileSync } from "node:fs";
import {
  initialLambdaState,
  type LambdaConfig,
  type LambdaState,
  updateLambda,
} from "../../src/rl/lambda.ts";
import { LAMBDA_CONFIG } from "../unit/lambda_config.ts";
import { type ParityLine, worstRelative } from "./line.ts";

interface Golden {
  seed: number;
  sequences: number;
  draws_total: number;
  lambda_f64: string;
  j_ema_f64: string;
}

const GOLDEN: Golden = JSON.parse(
  readFileSync(new URL("../golden/lambda_rule.json", import.meta.url), "utf8"),
);

const START = [0, 1e-15, 0.01, 0.5, 1, 3, 20, 1e4];
const RATES = [0, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.5, 1];
const BETAS = [0, 0.5, 0.9, 0.99];
const MINIMA = [0, 1e-9, 1e-4, 0.1];
const MAXIMA = [2, 25, 1e6, 1e300];
const SCALES = [1e-3, 0.1, 1, 10];

/** The generator of lambda_rule.py. */
class Draws {
  total = 0;
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  word(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    this.total += x >>> 0;
    return x >>> 0;
  }

  /** In [-1, 1), exact. */
  unit(): number {
    return this.word() / 2 ** 31 - 1;
  }

  choose(values: readonly number[]): number {
    return values[this.word() % values.length];
  }
}

function runSequence(draws: Draws): LambdaState {
  let state = initialLambdaState(draws.choose(START));
  const [lambda_lr, jc_ema_beta, lambda_min, lambda_max, scale] = [RATES, BETAS, MINIMA, MAXIMA, SCALES]
    .map((values) => draws.choose(values));
  const lambda_pos_cost_only = draws.word() % 2 === 0;
  const lambda_adapt = draws.word() % 16 !== 0;
  const cost_threshold_d = draws.unit();
  const config: LambdaConfig = {
    ...LAMBDA_CONFIG,
    lambda_lr,
    jc_ema_beta,
    lambda_min,
    lambda_max,
    lambda_pos_cost_only,
    lambda_adapt,
    cost_threshold_d,
  };
  const steps = 1 + draws.word() % 50;
  for (let step = 0; step < steps; step++) {
    state = updateLambda(state, { costs: [draws.unit() * scale] }, config);
  }
  return state;
}

function readF64(base64: string): Float64Array {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
}

function worst(): number {
  const draws = new Draws(GOLDEN.seed);
  const states = Array.from({ length: GOLDEN.sequences }, () => runSequence(draws));
  if (draws.total !== GOLDEN.draws_total) {
    throw new Error(
      `The sequences are not those of lambda_rule.py: ${draws.total}, not ${GOLDEN.draws_total}`,
    );
  }
  return Math.max(
    worstRelative(states.map(({ lambda }) => lambda), readF64(GOLDEN.lambda_f64)),
    worstRelative(states.map(({ jEma }) => jEma ?? NaN), readF64(GOLDEN.j_ema_f64)),
  );
}

export const lines: ParityLine[] = [
  {
    what: `lambda and the average of J after ${GOLDEN.sequences} random sequences of 1 to 50 mean costs`,
    reference: "the rule in Python doubles",
    measure: "relative",
    limit: 5e-14,
    worst,
  },
];
