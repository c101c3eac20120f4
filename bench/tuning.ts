/** Has benchmarks run the kernels for matrix products that a run would take: those measured on this device. */
import type { TuningEvents } from "../src/assembly/events.ts";
import { knownTuning, type TunedLayers, tuneKernels } from "../src/assembly/kernel_tuning.ts";
import type { Gpu } from "../src/gpu/device.ts";
import { useLinearTuning } from "../src/ops/linear/facts.ts";
import type { OpCase } from "../test/cases/case.ts";
import { showProgress } from "./progress.ts";

const EVENTS: TuningEvents = {
  onMeasuring: (done, total) => showProgress(`measuring kernels: ${done} of ${total}`),
  onMeasured: ({ path, failure }) => {
    if (failure !== undefined) showProgress(`what was measured is not kept in ${path}: ${failure}`);
  },
};

/**
 * Takes what is known of this device. With `layers` what is missing for these is measured first, and kept for runs.
 * Nothing on a CPU, nor where GRPO_WEBGPU_TUNING is off.
 */
export async function takeTuning(
  { info }: Pick<Gpu, "info">,
  layers: TunedLayers | null = null,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<void> {
  useLinearTuning(await knownTuning(info, environment));
  if (layers) await tuneKernels(info, layers, { events: EVENTS, environment });
}

/** The layers of cases, each tuned up to the rows of the largest of them. */
export function layersOfCases(cases: readonly OpCase[]): TunedLayers {
  const inputs = cases.flatMap((opCase) =>
    Object.values(opCase.inputs).map((input) => ({ ...input, trains: opCase.gradient !== undefined }))
  );
  const weights = inputs.flatMap(({ shape, weight, trains }) =>
    weight ? [{ shape, format: weight, grad: weight === "f32" && trains || null }] : []
  );
  const rows = inputs.filter(({ shape, weight }) => !weight && shape.length === 2).map(({ shape }) =>
    shape[0]
  );
  return { weights, mostRows: Math.max(0, ...rows) };
}
