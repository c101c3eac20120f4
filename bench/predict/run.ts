/** `bench --predict`: a step's time on a device that need not be here. */
import { openGpu } from "../../src/gpu/device.ts";
import { showProgress } from "../progress.ts";
import { namedShape } from "../shapes.ts";
import { namedDevice } from "./devices.ts";
import { namedInterconnect } from "./interconnects.ts";
import { measuredPhases } from "./measured.ts";
import { recordStep, type StepOptions } from "./plans.ts";
import { predict } from "./predict.ts";
import { predictScaling } from "./scaling.ts";
import { scalingTable } from "./scaling_table.ts";
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

export interface RanksOptions extends Pick<PredictOptions, "device" | "shape" | "precision"> {
  /** The most. */
  ranks: number;
  interconnect: string;
}

/**
 * `bench --predict DEVICE --ranks N`: a step of 1, 2, 4 and so on up to N ranks.
 * @throws RangeError when there is no such device, shape or interconnect
 */
export async function runRanksPrediction(
  { device: deviceName, shape: shapeName, ranks, interconnect, precision }: RanksOptions,
): Promise<{ text: string; report: object }> {
  const device = namedDevice(deviceName);
  const shape = namedShape(shapeName);
  const link = namedInterconnect(interconnect);
  await openGpu();
  const steps = await predictScaling({ shape, device, link, ranks, precision, tell: showProgress });
  showProgress("");
  const text = scalingTable(steps, { shape: shapeName, device, link });
  return { text, report: { device: deviceName, shape: shapeName, interconnect, ...steps } };
}
