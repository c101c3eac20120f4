/** The texts that a kernel's conditions choose from. */
import { type Conditions, kernelConditions, linkKernel } from "../src/gpu/wgsl.ts";

/** Every subset of a kernel's conditions. */
export function conditionSets(kernel: string): Conditions[] {
  return kernelConditions(kernel).reduce<Conditions[]>(
    (sets, name) => sets.flatMap((set) => [{ ...set, [name]: false }, { ...set, [name]: true }]),
    [{}],
  );
}

/** Those that change a kernel's text: an import may ask for others, in functions that the kernel does not call. */
function choices(kernel: string): string[] {
  return kernelConditions(kernel).filter((name) =>
    conditionSets(kernel).some((set) =>
      linkKernel(kernel, { ...set, [name]: true }).text !== linkKernel(kernel, { ...set, [name]: false }).text
    )
  );
}

/** What of a kernel is not among `variants`: any of it, one with each condition that changes its text, one without. */
export function missingVariants(
  kernel: string,
  variants: readonly { holds(name: string): boolean }[],
): string[] {
  if (variants.length === 0) return [kernel];
  return choices(kernel).flatMap((name) => [
    ...variants.some((one) => one.holds(name)) ? [] : [`${kernel} with ${name}`],
    ...variants.some((one) => !one.holds(name)) ? [] : [`${kernel} without ${name}`],
  ]);
}
