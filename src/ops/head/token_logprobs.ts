/** Log-probabilities of chosen tokens, and entropies, from logits. */
import type { Tensor } from "@tensorflow/tfjs";
import { hasNarrowSubgroups } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid, lanesForRow } from "../../gpu/grids.ts";
import { type Binding, copyTensor, newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";

interface TokenLogprobsSizes {
  rows: number;
  /** V: how many columns of a row are logits. */
  columns: number;
  /** Floats from one row of logits to the next. */
  stride: number;
  temperature: number;
}

/** A workgroup for each row: a software GPU, 8 lanes wide, takes a row of whole vec4s with 8. */
function rowLaunch({ rows, columns, stride, temperature }: TokenLogprobsSizes) {
  const VEC4 = stride % 4 === 0;
  const vec4Lanes = () => hasNarrowSubgroups() ? 8 : lanesForRow(columns / 4);
  return {
    conditions: { VEC4 },
    constants: { WG: VEC4 ? vec4Lanes() : 32 },
    params: { rows, columns, stride, scale: 1 / temperature },
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

/** token_logprobs_grad.wgsl on row windows: turns the logits into their gradient. */
export function runTokenLogprobsGrad(
  { logits, tokens, logsum, dlogprobs, ...sizes }:
    & Record<"logits" | "tokens" | "logsum" | "dlogprobs", Binding>
    & TokenLogprobsSizes,
): void {
  runKernel({
    kernel: "token_logprobs_grad",
    ...rowLaunch(sizes),
    bindings: { logits, tokens, logsum, dlogprobs },
  });
}

const tokenLogprobsOp = defineOp<"logits" | "tokens", { temperature: number }>({
  name: "GrpoTokenLogprobs",
  forward({ logits, tokens }, { temperature }) {
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
      temperature,
    });
    return [logprobs, entropy, logsum];
  },
  saves: { inputs: ["logits", "tokens"], outputs: [false, false, true] },
  gradient(dys, [logits, tokens, logsum], { temperature }) {
    const dlogprobs = (dys as Tensor[])[0];
    return { logits: () => tokenLogprobsGradOp({ logits, tokens, logsum, dlogprobs }, { temperature })[0] };
  },
});

const tokenLogprobsGradOp = defineOp<"logits" | "tokens" | "logsum" | "dlogprobs", { temperature: number }>({
  name: "GrpoTokenLogprobsGrad",
  forward({ logits, tokens, logsum, dlogprobs }, { temperature }) {
    const [rows, columns] = logits.shape;
    const dlogits = newTensor([rows, columns]);
    copyTensor(logits, dlogits);
    runTokenLogprobsGrad({
      logits: { tensor: dlogits },
      tokens: { tensor: tokens },
      logsum: { tensor: logsum },
      dlogprobs: { tensor: dlogprobs },
      rows,
      columns,
      stride: columns,
      temperature,
    });
    return dlogits;
  },
});

/**
 * Log-probability of each chosen token under softmax(logits / temperature), and that distribution's entropy.
 * Only the log-probabilities have a gradient: the entropy is for logging.
 * @param logits f32 [R,V]
 * @param tokens i32 [R], each in [0,V), or -1 = padding -> 0
 * @param temperature > 0
 * @returns logprobs f32 [R] and entropy f32 [R], both in nats
 */
export function tokenLogprobs(logits: Tensor, tokens: Tensor, temperature: number): [Tensor, Tensor] {
  const [logprobs, entropy] = tokenLogprobsOp({ logits, tokens }, { temperature });
  return [logprobs, entropy];
}

/** Twin of token_logprobs.wgsl in f64. @returns logprobs, entropy and logsum, each [R] */
export function tokenLogprobsF64(
  logits: ArrayLike<number>,
  tokens: ArrayLike<number>,
  columns: number,
  temperature: number,
) {
  const rows = tokens.length;
  const [logprobs, entropy, logsum] = [0, 1, 2].map(() => new Float64Array(rows));
  for (let r = 0; r < rows; r++) {
    const z = Float64Array.from({ length: columns }, (_, v) => logits[r * columns + v] / temperature);
    const top = z.reduce((a, b) => Math.max(a, b));
    logsum[r] = top + Math.log(z.reduce((sum, value) => sum + Math.exp(value - top), 0));
    if (tokens[r] < 0) continue;
    logprobs[r] = z[tokens[r]] - logsum[r];
    entropy[r] = z.reduce((sum, value) => sum - (value - logsum[r]) * Math.exp(value - logsum[r]), 0);
  }
  return { logprobs, entropy, logsum };
}

/** Twin of token_logprobs_grad.wgsl in f64. @returns dlogits [R,V] */
export function tokenLogprobsGradF64(
  logits: ArrayLike<number>,
  tokens: ArrayLike<number>,
  dlogprobs: ArrayLike<number>,
  columns: number,
  temperature: number,
): Float64Array {
  const { logsum } = tokenLogprobsF64(logits, tokens, columns, temperature);
  const dlogits = new Float64Array(tokens.length * columns);
  for (let r = 0; r < tokens.length; r++) {
    if (tokens[r] < 0) continue;
    for (let v = 0; v < columns; v++) {
      const probability = Math.exp(logits[r * columns + v] / temperature - logsum[r]);
      dlogits[r * columns + v] = dlogprobs[r] / temperature * ((v === tokens[r] ? 1 : 0) - probability);
    }
  }
  return dlogits;
}
