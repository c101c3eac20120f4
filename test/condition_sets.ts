/** The texts that a kernel's conditions choose from. */
import { type Conditions, kernelConditions, linkKernel } from "../src/gpu/wgsl.ts";

/** Every subset of a kernel's conditions. */
export function conditionSets(kernel: string): Conditions[] {
  return kernelConditions(kernel).reduce<Conditions[]>(
    (sets, name) => sets.flatMap((set) => [{ ...set, [name]: false }, { ...set, [name]: true }]),
    [{}],
  );
}

/** A kernel, or a condition of one, for subgroups of exactly 8 lanes. */
const isForSimd8 = (name: string) => /(^|_)simd8$/i.test(name);

/** Those that change a kernel's text: an import may ask for others, in functions that the kernel does not call. */
function choices(kernel: string): string[] {
  return kernelConditions(kernel).filter((name) =>
    conditionSets(kernel).some((set) =>
      linkKernel(kernel, { ...set, [name]: true }).text !== linkKernel(kernel, { ...set, [name]: false }).text
    )
  );
}

/**
 * What of a kernel is not among `variants`: any of it, one with each condition that changes its text, one without.
 * What is for subgroups of 8 lanes is not missed on a device without them.
 */
export function missingVariants(
  kernel: string,
  variants: readonly { holds(name: string): boolean }[],
  hasSimd8: boolean,
): string[] {
  if (isForSimd8(kernel) && !hasSimd8) return [];
  if (variants.length === 0) return [kernel];
  return choices(kernel).filter((name) => hasSimd8 || !isForSimd8(name)).flatMap((name) => [
    ...variants.some((one) => one.holds(name)) ? [] : [`${kernel} with ${name}`],
    ...variants.some((one) => !one.holds(name)) ? [] : [`${kernel} without ${name}`],
  ]);
}
