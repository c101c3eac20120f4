/** Every kernel's work. */
import { ATTENTION_WORKS } from "./work/attention.ts";
import { FEW_WORKS } from "./work/few.ts";
import { FLAT_WORKS } from "./work/flat.ts";
import { HEAD_WORKS } from "./work/head.ts";
import { LINEAR_WORKS } from "./work/linear.ts";
import { POPULATION_WORKS } from "./work/population.ts";
import { ROW_WORKS } from "./work/rows.ts";
import type { Called, Seen, Work, WorkOf } from "./work.ts";

/** By the kernel's name. */
export const WORKS: Readonly<Record<string, WorkOf>> = {
  ...ATTENTION_WORKS,
  ...FEW_WORKS,
  ...FLAT_WORKS,
  ...HEAD_WORKS,
  ...LINEAR_WORKS,
  ...POPULATION_WORKS,
  ...ROW_WORKS,
};

/**
 * What a recorded dispatch does.
 * @throws Error when its kernel's work is not declared, or its declaration asks for what the call does not give
 */
export function workOf(called: Called, seen: Seen): Work {
  const { kernel } = called.call;
  const declared = WORKS[kernel];
  if (!declared) {
    throw new Error(
      `Cannot tell what ${kernel} costs: no work is declared for it; declare it in bench/predict/work/, as ` +
        "bench/predict/work.ts says",
    );
  }
  const work = declared(called, seen);
  const { workgroups, lanes, memoryBytes, cacheBytes, products = 0, flops = 0, chain } = work;
  const figures = [workgroups, lanes, memoryBytes, cacheBytes, products, flops];
  for (const step of chain) figures.push(...Object.values(step));
  if (figures.every((figure) => figure >= 0 && Number.isFinite(figure))) return work;
  throw new Error(
    `Cannot tell what ${kernel} costs: its declared work holds a figure that is no number for the constants ` +
      `${JSON.stringify(called.call.constants)} and params ${JSON.stringify(called.call.params)}: ` +
      JSON.stringify(work),
  );
}
