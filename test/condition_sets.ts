/** The texts that a kernel's conditions choose from. */
import { type Conditions, kernelConditions, linkKernel } from "../src/gpu/wgsl.ts";

type Rule = (conditions: Conditions) => boolean;

const hasQuads: Rule = ({ VEC4 }) => VEC4;
/** Gradients have adapters in products of their own, and so has what only a CPU runs. */
const hasNoAdapter: Rule = ({ ADAPTER }) => !ADAPTER;

/** Splits alone take the newest token; the others import from the same text. */
const hasNoNewest: Rule = ({ NEWEST }) => !NEWEST;

/** Which conditions a kernel is asked for together, where not all are. */
const RULES: Readonly<Record<string, Rule>> = {
  attention_decode: hasNoNewest,
  attention_decode_merge: hasNoNewest,
  attention_decode_simd8: hasNoNewest,
  halves_shrink: ({ VEC4, TRANSPOSED }) => VEC4 && !TRANSPOSED,
  lora_shrink_tile: hasQuads,
  linear_simd8: hasNoAdapter,
  swiglu_linear: hasNoAdapter,
  swiglu_linear_simd8: hasNoAdapter,
  linear_grad_w: hasNoAdapter,
  linear_grad_w_simd8: hasNoAdapter,
  linear_grad_w_tile: hasNoAdapter,
  linear_grad_x: hasNoAdapter,
  linear_grad_x_simd8: hasNoAdapter,
  linear_grad_x_tile: hasNoAdapter,
  linear_matrix: ({ GRAD_X, GRAD_W, ADD, BIAS, RESIDUAL, ADAPTER }) =>
    !(GRAD_X && GRAD_W) && (GRAD_X || !ADD) && (!GRAD_X && !GRAD_W || !BIAS && !RESIDUAL && !ADAPTER),
  // Three layers with adapters leave a binding for one bias, of 16: with more they run one by one.
  linear_few_matrix: ({ SECOND, THIRD, GATED, BIAS, BIAS2, BIAS3, RESIDUAL, ADAPTER }) =>
    (SECOND || !THIRD && !GATED && !BIAS2) && (THIRD || !BIAS3) && !(THIRD && GATED) &&
    !(SECOND && RESIDUAL) &&
    !(THIRD && ADAPTER && [BIAS, BIAS2, BIAS3].filter(Boolean).length > 1),
};

/** Every set of its conditions that a kernel may be asked for. */
export function conditionSets(kernel: string): Conditions[] {
  const rule = RULES[kernel] ?? (() => true);
  return kernelConditions(kernel).reduce<Conditions[]>(
    (sets, name) => sets.flatMap((set) => [{ ...set, [name]: false }, { ...set, [name]: true }]),
    [{}],
  ).filter(rule);
}

/** A kernel, or a condition of one, for subgroups of exactly 8 lanes. */
const isForSimd8 = (name: string) => /(^|_)simd8$/i.test(name);

/** Those that change a kernel's text: an import may ask for others, in functions that the kernel does not call. */
function choices(kernel: string): string[] {
  const rule = RULES[kernel] ?? (() => true);
  const textOf = (conditions: Conditions) => linkKernel(kernel, conditions).text;
  return kernelConditions(kernel).filter((name) =>
    conditionSets(kernel).filter((set) => set[name]).some((set) => {
      const other = { ...set, [name]: false };
      return rule(other) && textOf(set) !== textOf(other);
    })
  );
}

/**
 * What of a kernel is not among `variants`: any of it, one with each condition that changes its text, one without; and
 * whether any breaks its rule. What is for subgroups of 8 lanes is not missed on a device without them.
 */
export function missingVariants(
  kernel: string,
  variants: readonly { holds(name: string): boolean }[],
  hasSimd8: boolean,
): string[] {
  if (isForSimd8(kernel) && !hasSimd8) return [];
  if (variants.length === 0) return [kernel];
  const names = kernelConditions(kernel);
  const held = variants.map(({ holds }) => Object.fromEntries(names.map((name) => [name, holds(name)])));
  const broken = held.filter((set) => RULES[kernel]?.(set) === false)
    .map((set) => `${kernel} only without ${names.filter((name) => set[name])} together`);
  const missing = choices(kernel).filter((name) => hasSimd8 || !isForSimd8(name)).flatMap((name) => [
    ...held.some((set) => set[name]) ? [] : [`${kernel} with ${name}`],
    ...held.some((set) => !set[name]) ? [] : [`${kernel} without ${name}`],
  ]);
  return [...broken, ...missing];
}
