/** Matrix products of the sizes of a 7B model, in both precisions: forward, and the gradient of the input. */
import { openGpu } from "../../src/gpu/device.ts";
import { type MatmulPrecision, matrixUnitsMissing, setMatmulPrecision } from "../../src/gpu/precision.ts";
import { runLinearGradX } from "../../src/ops/linear/dispatch.ts";
import { deviceCandidates, withLinearVariant } from "../../src/ops/linear/facts.ts";
import { linear } from "../../src/ops/linear/linear.ts";
import type { RowCount } from "../../src/ops/linear/choice.ts";
import { emptyTensor } from "../../src/gpu/tensors.ts";
import type { PartContext } from "./report_line.ts";
import { randomTensor, randomWeight, timeCase, type TimedCase } from "./timed_case.ts";

interface Product {
  M: number;
  N: number;
  K: number;
  precision: MatmulPrecision;
  rows: RowCount;
}

const SIZES: readonly (readonly [N: number, K: number])[] = [
  [4096, 4096],
  [11008, 4096],
  [4096, 11008],
  [32000, 4096],
];
/** What decides most comes first: a token of all rows, a completion, a pass of several, then the ends. */
const ROWS = [60, 512, 2048, 4, 1, 16384];
/** A token of so many rows decodes with kernels of their own. */
const FEW_ROWS = 64;
/** Variants of a product are measured at these rows; their time is a tenth of the part's. */
const VARIANT_ROWS = [512];

function forwardCase({ M, N, K, precision, rows }: Product, variant = ""): TimedCase {
  return {
    name: `${precision} ${M} x ${N} x ${K}${rows === "few" ? ", decoding" : ""}${variant}`,
    flops: 2 * M * N * K,
    unit: precision === "float16" ? "matrix" : "fma",
    bytes: 2 * N * K + 4 * M * (N + K),
    make() {
      const [x, weight] = [randomTensor([M, K]), randomWeight([N, K], "bf16")];
      return () => linear(x, weight, { rows });
    },
  };
}

function gradXCase({ M, N, K, precision }: Product): TimedCase {
  return {
    name: `${precision} ${M} x ${N} x ${K}, gradient of the input`,
    flops: 2 * M * N * K,
    unit: precision === "float16" ? "matrix" : "fma",
    bytes: 2 * N * K + 4 * M * (N + K),
    make() {
      const [dy, weight, dx] = [randomTensor([M, N]), randomWeight([N, K], "bf16"), emptyTensor([M, K])];
      return () => runLinearGradX({ dy: { tensor: dy }, weight, dx: { tensor: dx }, rows: M });
    },
  };
}

/** Says the products, in the order of what they decide. */
export async function reportProducts({ isSmall, say }: PartContext): Promise<void> {
  await openGpu();
  const missing = matrixUnitsMissing();
  if (missing !== undefined) say({ kind: "left out", name: "float16 products", reason: missing });
  const precisions: MatmulPrecision[] = missing === undefined ? ["float16", "float32"] : ["float32"];
  const sizes = isSmall ? [[64, 128], [96, 64]] as const : SIZES;
  for (const M of isSmall ? [3, 40] : ROWS) {
    for (const [N, K] of sizes) {
      for (const precision of precisions) {
        setMatmulPrecision(precision);
        const product = { M, N, K, precision, rows: M <= FEW_ROWS ? "few" as const : "many" as const };
        await timeCase(forwardCase(product), say);
        if (product.rows === "many" && M <= 2048) await timeCase(gradXCase(product), say);
      }
    }
  }
  setMatmulPrecision("float32");
  const [N, K] = sizes[0];
  for (const M of isSmall ? [40] : VARIANT_ROWS) {
    for (const variant of deviceCandidates()) {
      const product = { M, N, K, precision: "float32" as const, rows: "many" as const };
      const timed = forwardCase(product, `, tiles of ${variant}`);
      const make = () => {
        const run = timed.make();
        return () => withLinearVariant(variant, run);
      };
      await timeCase({ ...timed, make }, say);
    }
  }
}
