/** One model evaluated and its results written: what `eval` loads once its settings are right. */
import { evaluateModel, type EvaluationEvents, writeEvaluation } from "../assembly/evaluation.ts";
import type { RunConfig } from "../config/sweep.ts";
import { openGpu } from "../gpu/device.ts";
import { withoutDriverNoise } from "./terminal/driver_noise.ts";

/** @returns the means */
export async function evaluate(
  config: RunConfig,
  { folder, lambda }: { folder: string; lambda?: number },
  events: EvaluationEvents,
): Promise<Record<string, unknown>> {
  await withoutDriverNoise(openGpu);
  const evaluated = await evaluateModel(config, events, { lambda });
  await writeEvaluation(folder, evaluated);
  return evaluated.summary;
}
