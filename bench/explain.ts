/** Says which kernel computes each product of a linear layer on the device that is open, and why. Runs none of them. */
import { kernelChoice } from "../src/assembly/kernel_tuning.ts";
import type { Gpu } from "../src/gpu/device.ts";
import {
  chooseLinear,
  type LayerSizes,
  type LinearChoice,
  type LinearProduct,
  productSize,
  type RowCount,
} from "../src/ops/linear/choice.ts";
import type { WeightFormat } from "../src/ops/weight/weight.ts";
import { deviceLine, measuredOn } from "./device_line.ts";
import { takeTuning } from "./tuning.ts";

export interface ExplainOptions {
  /** Of the weight; "f32" unless given. */
  format?: WeightFormat;
  /** "many" unless given. */
  rowCount?: RowCount;
  environment?: Readonly<Record<string, string | undefined>>;
}

const PRODUCTS: readonly LinearProduct[] = ["output", "grad_x", "grad_w", "swiglu"];

/**
 * The sizes of a layer as they are typed.
 * @throws RangeError when they are not three whole numbers from 1
 */
export function layerSizes(typed: readonly string[]): LayerSizes {
  const [M, N, K] = typed.map(Number);
  if (typed.length !== 3 || ![M, N, K].every((size) => Number.isInteger(size) && size >= 1)) {
    throw new RangeError(
      `Cannot explain a layer of ${
        typed.join(" ")
      }: need its rows, outputs and inputs, three whole numbers of at least ` +
        "1, as in --explain 512 4096 4096",
    );
  }
  return { M, N, K };
}

function linesOf(product: LinearProduct, { kernel, constants, workgroups, why }: LinearChoice): string {
  const set = Object.entries(constants).map(([name, value]) => ` ${name}=${value}`).join("");
  const [head, space] = [product.padEnd(8), " ".repeat(8)];
  const reason = why.replace(/(.{1,72})(?: |$)/g, `\n${space}$1`); // within 80 columns
  return `${head}${kernel}${set}, ${workgroups.join(" x ")} workgroups${reason}`;
}

/**
 * For each product of a layer of M rows, N outputs and K inputs in float32: the kernel, its constants, its workgroups
 * and why, by what was measured on this device where it was.
 */
export async function explainLinear(gpu: Gpu, { M, N, K }: LayerSizes, options: ExplainOptions = {}) {
  const { format = "f32", rowCount = "many", environment = process.env } = options;
  await takeTuning(gpu, null, environment);
  const choices = PRODUCTS.map((product) =>
    chooseLinear({ ...productSize(product, { M, K, N }), format, rowCount })
  );
  const tuning = await kernelChoice(gpu.info, environment);
  const layer =
    `linear layer of ${M} rows (${rowCount}), ${N} outputs and ${K} inputs, weight ${format}, in float32`;
  const lines = choices.map((choice, i) => linesOf(PRODUCTS[i], choice));
  const text = [deviceLine(measuredOn(gpu)), layer, `kernels of this device: ${tuning}`, "", ...lines].join(
    "\n",
  );
  return { text, report: { sizes: { M, N, K }, format, rowCount, tuning, choices } };
}
