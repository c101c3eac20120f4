/** The part of a checkpoint that is no tensor, held to its shape when it is read back. */
import { z } from "zod";
import type { ResumeIdentity } from "../config/resume.ts";
import { formatError } from "../io/files/errors.ts";
import type { BestState } from "../rl/best_metric.ts";
import type { TrackerState } from "../tracking/tracker.ts";
import type { Progress } from "./generation_batch.ts";
import type { RunInputs } from "./run_inputs.ts";

export interface SavedState {
  /** What must not change on resume. */
  identity: ResumeIdentity;
  /** What may, and is named. */
  settings: ResumeIdentity;
  inputs: RunInputs;
  progress: Progress;
  tracker: TrackerState;
  /** Of evaluations before the step was saved; null where none is the best. */
  best: BestState | null;
}

const count = z.int().min(0);
const number = z.number(); // zod's are finite
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const Lambda = z.strictObject({
  lambda: number.min(0),
  jEma: number.nullable(),
  updates: count,
  pid: z.strictObject({ integral: number.min(0), averages: z.array(number).min(1) }).optional(),
}).refine(({ jEma, updates }) => (jEma === null) === (updates === 0), {
  message: "its jEma must be null before the first update, and a number from then on",
});

const PromptSet = z.strictObject({ name: z.string().min(1), sha256 });

const Scatter = z.strictObject({
  fromStep: count,
  seen: count,
  stride: z.int().min(1),
  rewards: z.array(number),
  costs: z.array(number),
}).refine(({ rewards, costs }) => rewards.length === costs.length, {
  message: "it must hold as many costs as rewards",
});

const Best = z.strictObject({
  metric: z.string().min(1),
  greaterIsBetter: z.boolean(),
  step: z.int().min(1),
  value: number,
  stale: count,
  lastStep: z.int().min(1),
});

const Settings = z.record(z.string(), z.json());

const State = z.strictObject({
  identity: Settings,
  settings: Settings,
  inputs: z.strictObject({
    train: PromptSet,
    eval: PromptSet.nullable(),
    model: z.record(z.string(), sha256),
  }),
  progress: z.strictObject({
    step: count,
    lambdas: z.array(Lambda).min(1),
    rankLambdas: z.array(z.array(Lambda).min(1)).min(1).nullable(),
    numTokens: count,
    entropyControl: z.strictObject({ coef: number, lastEntropy: number.nullable() }).nullable().default(null),
  }),
  tracker: z.strictObject({ scatter: Scatter }),
  best: Best.nullable(),
});

/** "progress.rankLambdas[1][0].lambda" */
const pathText = (path: readonly PropertyKey[]): string =>
  path.map((part) => typeof part === "number" ? `[${part}]` : `.${String(part)}`).join("");

const valueAt = (root: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (value, part) => typeof value === "object" && value !== null ? Reflect.get(value, part) : undefined,
    root,
  );

/** Longer values are cut in messages. */
const SHOWN_LENGTH = 60;

/** The rule of each cost's lambda. */
function rulesOf({ lambda_rule, costs }: ResumeIdentity): unknown[] {
  const ruleOf = (entry: unknown) => (entry as { lambda_rule?: unknown } | null)?.lambda_rule ?? lambda_rule;
  return Array.isArray(costs) ? costs.map(ruleOf) : [lambda_rule];
}

/** There is a lambda of each cost, and each remembers what its rule does. */
function assertLambdas(
  { identity, progress }: Pick<SavedState, "identity" | "progress">,
  fault: (key: string, required: string, found: unknown) => Error,
): void {
  const rules = rulesOf(identity);
  for (const lambdas of [progress.lambdas, ...progress.rankLambdas ?? []]) {
    if (lambdas.length !== rules.length) {
      throw fault(".progress.lambdas", `required ${rules.length}, one of each cost`, lambdas);
    }
    const k = lambdas.findIndex(({ pid, updates }, k) =>
      (pid !== undefined) !== (rules[k] === "pid" && updates > 0)
    );
    if (k < 0) continue;
    throw fault(
      `.progress.lambdas[${k}]`,
      `required ${rules[k] === "pid" ? "what lambda_rule pid remembers" : "no pid"}, as lambda_rule is ` +
        JSON.stringify(rules[k]),
      lambdas[k],
    );
  }
}

/**
 * The state of a checkpoint, as it was read.
 * @param path of its file, for messages
 * @throws Error when it is not the state of a run at `step`; it names the file, the key and what stands there
 */
export function parseSavedState(
  value: unknown,
  { path, step }: { path: string; step: number },
): SavedState {
  const fault = (key: string, required: string, found: unknown) =>
    formatError(
      path,
      `state${key}: ${required}, found ${
        (JSON.stringify(found) ?? "nothing").slice(0, SHOWN_LENGTH)
      }; it is damaged, ` +
        "or of another version of this program: delete this checkpoint to go on from the one before, or set " +
        "resume=false to start over",
    );
  const { success, data, error } = State.safeParse(value);
  if (!success) {
    const [{ path: key, message }] = error.issues;
    throw fault(pathText(key), message, valueAt(value, key));
  }
  const { progress } = data;
  if (progress.step !== step) throw fault(".progress.step", `required ${step}`, progress.step);
  const isOfRanks = data.identity.lambda_scope === "rank";
  if (isOfRanks !== (progress.rankLambdas !== null)) {
    const required = isOfRanks
      ? "required the lambda of each rank"
      : "required null, as lambda_scope is global";
    throw fault(".progress.rankLambdas", required, progress.rankLambdas);
  }
  assertLambdas(data, fault);
  if (data.best !== null && (data.best.step > data.best.lastStep || data.best.lastStep > step)) {
    throw fault(".best", `required steps up to ${step}, the best not after the last`, data.best);
  }
  return data;
}
