/** `bench --predict`: a step's time on a device that need not be here. */
import { openGpu } from "../../src/gpu/device.ts";
import { namedShape } from "../shapes.ts";
import { namedDevice } from "./devices.ts";
import { measuredPhases } from "./measured.ts";
import { recordStep, type StepOptions } from "./plans.ts";
import { predict } from "./predict.ts";
import { type PredictedStep, predictionTable } from "./table.ts";

export interface PredictOptions extends StepOptions {
  device: string;
  shape: string;
}

/** The device that docs/measurements.md was measured on. */
const MEASURED_DEVICE = "lavapipe";

/** @throws RangeError when there is no such device or shape */
export async function runPrediction(
  { device: name, shape, ...options }: PredictOptions,
): Promise<{ text: string; report: object }> {
  const device = namedDevice(name);
  const named = namedShape(shape);
  await openGpu();
  const recorded = await recordStep(named, device, options);
  const prediction = predict(recorded, device);
  const { lora, config, rowsPerPass, recomputesLayers, peakBytes } = recorded;
  const tokenSteps = config.max_completion_length - 1;
  const step: PredictedStep = {
    shape,
    lora,
    precision: config.matmul_precision,
    tokenSteps,
    rowsPerPass,
    recomputesLayers,
    peakBytes,
  };
  const isMeasured = name === MEASURED_DEVICE && lora === "none";
  return {
    text: predictionTable(prediction, device, step, isMeasured ? measuredPhases(shape) : null),
    report: { device: name, ...step, ...prediction },
  };
}
