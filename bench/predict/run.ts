/** `bench --predict`: a step's time on a device that need not be here. */
import { openGpu } from "../../src/gpu/device.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { namedShape } from "../shapes.ts";
import { namedDevice } from "./devices.ts";
import { recordStep, type StepOptions } from "./plans.ts";
import { predict, type Prediction } from "./predict.ts";
import { type PredictedStep, predictionTable } from "./table.ts";

export interface PredictOptions {
  device: string;
  shape: string;
  lora: StepOptions["lora"];
  precision?: RunConfig["matmul_precision"];
}

/** @throws RangeError when there is no such device or shape */
export async function runPrediction(
  { device: name, shape, lora, precision }: PredictOptions,
): Promise<{ text: string; report: object }> {
  const device = namedDevice(name);
  const named = namedShape(shape);
  await openGpu();
  const recorded = await recordStep(named, device, { lora, precision });
  const prediction: Prediction = predict(recorded, device);
  const { config, tokenSteps, rowsPerPass, peakBytes } = recorded;
  const step: PredictedStep = {
    shape,
    lora,
    precision: config.matmul_precision,
    tokenSteps,
    rowsPerPass,
    peakBytes,
  };
  const measured = name === "lavapipe"
    ? "measured: npm run bench -- --job times the phases of a step where this program runs"
    : "not measured: this program has not run on that device";
  return {
    text: predictionTable(prediction, device, step, measured),
    report: { device: name, ...step, ...prediction },
  };
}
