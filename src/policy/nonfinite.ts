/** Numbers of a policy that are none: nothing is sampled, saved or evaluated with it from there on. */
import { nonfiniteOf } from "../ops/weight/nonfinite.ts";
import type { Weight } from "../ops/weight/weight.ts";
import type { WeightSource } from "./weight_source.ts";

/** A policy's weights, or the logits that it computes, are infinite or NaN. */
export class NonfinitePolicyError extends Error {
  override readonly name = "NonfinitePolicyError";
}

const NAMED = 3;

/** Some of the weights that hold values which are no numbers, in words; null where none does. */
async function nonfiniteText(weights: readonly Weight[]): Promise<string | null> {
  const found = await nonfiniteOf(weights);
  if (found.length === 0) return null;
  const named = found.slice(0, NAMED).map(({ weight: { name, shape }, count, first }) =>
    `"${name}" [${shape}] holds ${count}, the first at [${indexOf(first, shape)}]`
  );
  const more = found.length > NAMED ? `; and ${found.length - NAMED} more tensors` : "";
  return named.join("; ") + more;
}

/** Where value `i` of a tensor stands. */
function indexOf(i: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  for (const size of [...shape].reverse()) {
    index.unshift(i % size);
    i = Math.floor(i / size);
  }
  return index;
}

const LOADED =
  "the file is damaged, or of a training that diverged: download it again, or take another model";

/** @throws NonfinitePolicyError when weights that were loaded hold such values; it names the file of the first */
export async function assertFiniteSource(
  source: Pick<WeightSource, "path" | "fileOf">,
  weights: readonly Weight[],
): Promise<void> {
  const [first] = await nonfiniteOf(weights);
  if (!first) return;
  await assertFiniteWeights(weights, source.fileOf?.(first.weight.name) ?? source.path, LOADED);
}

/**
 * Looks through weights on the GPU; one read-back.
 * @param whose what stands before the finding: a file, or what the weights are of
 * @param remedy what to do
 * @throws NonfinitePolicyError when any value is infinite or NaN; it names tensors, counts and places
 */
export async function assertFiniteWeights(
  weights: readonly Weight[],
  whose: string,
  remedy: string,
): Promise<void> {
  const found = await nonfiniteText(weights);
  if (found === null) return;
  throw new NonfinitePolicyError(
    `${whose}: finite values are required, tensor ${found} NaN or infinite; ${remedy}`,
  );
}
