/** The texts that a kernel's conditions choose from. */
import { type Conditions, kernelConditions } from "../src/gpu/wgsl.ts";

/** Every subset of a kernel's conditions. */
export function conditionSets(kernel: string): Conditions[] {
  return kernelConditions(kernel).reduce<Conditions[]>(
    (sets, name) => sets.flatMap((set) => [{ ...set, [name]: false }, { ...set, [name]: true }]),
    [{}],
  );
}
