/** Log-probabilities of chosen tokens, and entropies, from logits. */
import type { Tensor } from "@tensorflow/tfjs";
import { hasNarrowSubgroups } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid, lanesForRow } from "../../gpu/grids.ts";
import { type Binding, copyTensor, newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { checkFinalLogits, type FinalLogits, finalLogitsF64 } from "./final_logits.ts";

/** What log-probabilities are taken of: softmax(logits / temperature), the logits as the model means them. */
export interface LogprobOptions extends FinalLogits {
  /** > 0 */
  temperature: number;
  /** Whether the entropy has a gradient too; default: it is for logging. */
  differentiatesEntropy?: boolean;
}

interface TokenLogprobsSizes extends LogprobOptions {
  rows: number;
  /** V: how many columns of a row are logits. */
  columns: number;
  /** Floats from one row of logits to the next. */
  stride: number;
}

/**
 * A workgroup for each row; a software GPU, 8 lanes wide, takes it with 8. How many there are depends on the columns
 * alone, as do then the bits: the sampler's logits lie in rows of V, the trainer's of V rounded up.
 */
function rowLaunch({ rows, columns, stride, temperature, softcap, divisor = 1 }: TokenLogprobsSizes) {
  const VEC4 = stride % 4 === 0;
  const sizes = { rows, columns, stride };
  const params: Record<string, number> = softcap === undefined
    ? { ...sizes, scale: 1 / (temperature * divisor) }
    : { ...sizes, scale: 1 / temperature, factor: 1 / divisor, softcap };
  return {
    conditions: { VEC4, SOFTCAP: softcap !== undefined },
    constants: { WG: hasNarrowSubgroups() ? 8 : lanesForRow(columns / 4) },
    params,
    workgroups: foldGrid(rows),
  };
}

/** token_logprobs.wgsl on row windows. */
export function runTokenLogprobs(
  { logits, tokens, logprobs, entropy, logsum, ...sizes }:
    & Record<"logits" | "tokens" | "logprobs" | "entropy" | "logsum", Binding>
    & TokenLogprobsSizes,
): void {
  const bindings = { logits, tokens, logprobs, entropy, logsum };
  runKernel({ kernel: "token_logprobs", ...rowLaunch(sizes), bindings });
}

/** What the entropy's gradient is made of, beside that of the log-probs. */
export interface EntropyGradient<T> {
  /** f32 [R], of the forward pass. */
  entropy: T;
  /** f32 [R] */
  dentropy: T;
}

/**
 * token_logprobs_grad.wgsl on row windows: turns the logits into their gradient.
 * @param ofEntropy null where the entropy has none
 */
export function runTokenLogprobsGrad(
  { logits, tokens, logsum, dlogprobs, ofEntropy, ...sizes }:
    & Record<"logits" | "tokens" | "logsum" | "dlogprobs", Binding>
    & { ofEntropy: EntropyGradient<Binding> | null }
    & TokenLogprobsSizes,
): void {
  const { conditions, ...launch } = rowLaunch(sizes);
  runKernel({
    kernel: "token_logprobs_grad",
    conditions: { ...conditions, ENTROPY: ofEntropy !== null },
    ...launch,
    bindings: {
      logits,
      tokens,
      logsum,
      dlogprobs,
      entropy: ofEntropy?.entropy,
      dentropy: ofEntropy?.dentropy,
    },
  });
}

const tokenLogprobsOp = defineOp<"logits" | "tokens", LogprobOptions>({
  name: "GrpoTokenLogprobs",
  forward({ logits, tokens }, options) {
    const [rows, columns] = logits.shape;
    const [logprobs, entropy, logsum] = [newTensor([rows]), newTensor([rows]), newTensor([rows])];
    runTokenLogprobs({
      logits: { tensor: logits },
      tokens: { tensor: tokens },
      logprobs: { tensor: logprobs },
      entropy: { tensor: entropy },
      logsum: { tensor: logsum },
      rows,
      columns,
      stride: columns,
      ...options,
    });
    return [logprobs, entropy, logsum];
  },
  saves: { inputs: ["logits", "tokens"], outputs: [false, true, true] },
  gradient(dys, [logits, tokens, entropy, logsum], options) {
    const [dlogprobs, dentropy] = dys as Tensor[];
    const inputs = { logits, tokens, logsum, dlogprobs };
    const ofEntropy = options.differentiatesEntropy ? { entropy, dentropy } : null;
    return { logits: () => tokenLogprobsGradOp(inputs, { ...options, ofEntropy })[0] };
  },
});

/** Attributes of a gradient: what it needs of the entropy, which is no input of every one. */
export interface WithEntropyGradient {
  ofEntropy: EntropyGradient<Tensor> | null;
}

const tokenLogprobsGradOp = defineOp<
  "logits" | "tokens" | "logsum" | "dlogprobs",
  LogprobOptions & WithEntropyGradient
>({
  name: "GrpoTokenLogprobsGrad",
  forward({ logits, tokens, logsum, dlogprobs }, { ofEntropy, ...options }) {
    const [rows, columns] = logits.shape;
    const dlogits = newTensor([rows, columns]);
    copyTensor(logits, dlogits);
    runTokenLogprobsGrad({
      logits: { tensor: dlogits },
      tokens: { tensor: tokens },
      logsum: { tensor: logsum },
      dlogprobs: { tensor: dlogprobs },
      ofEntropy: ofEntropy && {
        entropy: { tensor: ofEntropy.entropy },
        dentropy: { tensor: ofEntropy.dentropy },
      },
      rows,
      columns,
      stride: columns,
      ...options,
    });
    return dlogits;
  },
});

/**
 * Log-probability of each chosen token under softmax(finalLogits(logits) / temperature), and that distribution's
 * entropy.
 * The entropy has a gradient only where the options say so: else it is for logging.
 * @param logits f32 [R,V]
 * @param tokens i32 [R], each in [0,V), or -1 = padding -> 0
 * @returns logprobs f32 [R] and entropy f32 [R], both in nats
 * @throws RangeError when softcap or divisor is no finite number above 0
 */
export function tokenLogprobs(logits: Tensor, tokens: Tensor, options: LogprobOptions): [Tensor, Tensor] {
  checkFinalLogits(options);
  const [logprobs, entropy] = tokenLogprobsOp({ logits, tokens }, options);
  return [logprobs, entropy];
}

/** Twin of token_logprobs.wgsl in f64. @returns logprobs, entropy and logsum, each [R] */
export function tokenLogprobsF64(
  logits: ArrayLike<number>,
  tokens: ArrayLike<number>,
  columns: number,
  { temperature, ...shape }: LogprobOptions,
) {
  const rows = tokens.length;
  const final = finalLogitsF64(logits, shape).logits;
  const [logprobs, entropy, logsum] = [0, 1, 2].map(() => new Float64Array(rows));
  for (let r = 0; r < rows; r++) {
    const z = Float64Array.from({ length: columns }, (_, v) => final[r * columns + v] / temperature);
    const top = z.reduce((a, b) => Math.max(a, b));
    logsum[r] = top + Math.log(z.reduce((sum, value) => sum + Math.exp(value - top), 0));
    if (tokens[r] < 0) continue;
    logprobs[r] = z[tokens[r]] - logsum[r];
    entropy[r] = z.reduce((sum, value) => sum - (value - logsum[r]) * Math.exp(value - logsum[r]), 0);
  }
  return { logprobs, entropy, logsum };
}

/** Twin of token_logprobs_grad.wgsl in f64. @param dentropy null: the entropy has no gradient @returns dlogits [R,V] */
export function tokenLogprobsGradF64(
  logits: ArrayLike<number>,
  tokens: ArrayLike<number>,
  { dlogprobs, dentropy = null }: { dlogprobs: ArrayLike<number>; dentropy?: ArrayLike<number> | null },
  columns: number,
  { temperature, ...shape }: LogprobOptions,
): Float64Array {
  const { logsum, entropy } = tokenLogprobsF64(logits, tokens, columns, { temperature, ...shape });
  const final = finalLogitsF64(logits, shape);
  const dlogits = new Float64Array(tokens.length * columns);
  for (let r = 0; r < tokens.length; r++) {
    if (tokens[r] < 0) continue;
    for (let v = 0; v < columns; v++) {
      const logprob = final.logits[r * columns + v] / temperature - logsum[r];
      const probability = Math.exp(logprob);
      const ofEntropy = (dentropy?.[r] ?? 0) * -probability * (logprob + entropy[r]);
      const pull = (dlogprobs[r] * ((v === tokens[r] ? 1 : 0) - probability) + ofEntropy) / temperature;
      dlogits[r * columns + v] = pull * final.slopes[r * columns + v];
    }
  }
  return dlogits;
}
