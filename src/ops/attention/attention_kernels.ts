/** The kernels of attention over packed sequences: which of them run, and how. All variants give the same bits. */
import type { TensorInfo } from "@tensorflow/tfjs";
import { hasSimd8 } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import type { KernelVariant } from "../../gpu/kernel.ts";
import { newTensor } from "../../gpu/tensors.ts";
import type { Conditions } from "../../gpu/wgsl.ts";
import { type AttentionShape, powerScale } from "./attention_shape.ts";

/** Lanes of a workgroup, and (row, head) pairs or rows of a lane: the plain kernels. */
const WG = 32;
const TILE = 4;
/** Rows of a workgroup, and pairs or rows of one where heads are narrow: the kernels for 8-wide subgroups. */
const SIMD8_ROWS = 8;
const NARROW_PAIRS = 16;
const NARROW_HEAD_DIM = 16;
/** Above it a lane of these kernels needs room for more (WIDE). */
const SIMD8_HEAD_DIM = 128;
/** What runs instead of a kernel where subgroups are 8 wide and heads narrow. */
const NARROW_KERNELS = {
  attention: "attention_narrow",
  attention_grad_q: "attention_grad_q_narrow",
  attention_grad_kv: "attention_grad_kv_narrow",
};
const STATS_WG = 64;

type KernelName = keyof typeof NARROW_KERNELS;

/** What a kernel goes over: rows of queries (attention, _grad_q) or of keys (_grad_kv), and of which keys. */
export interface Pass {
  rows: number;
  shape: AttentionShape;
  /** Over the keys of a prefix; the run after it, over the own ones, continues from there. */
  prefix?: boolean;
  afterPrefix?: boolean;
}

interface Choice extends KernelVariant {
  /** Workgroups. */
  groups: number;
}

/** The variant of a kernel for a device. All give the same bits. */
function chooseKernel(kernel: KernelName, { rows, shape: { heads, kvHeads, headDim } }: Pass): Choice {
  const headCount = kernel === "attention_grad_kv" ? kvHeads : heads;
  const perKeyHead = rows * headCount / kvHeads;
  if (!hasSimd8()) {
    return { kernel, constants: { WG }, groups: Math.ceil(Math.ceil(perKeyHead / TILE) * kvHeads / WG) };
  }
  if (headDim > NARROW_HEAD_DIM) {
    return {
      kernel: `${kernel}_simd8`,
      conditions: { WIDE: headDim > SIMD8_HEAD_DIM },
      groups: Math.ceil(rows / SIMD8_ROWS) * headCount,
    };
  }
  return {
    kernel: `${NARROW_KERNELS[kernel]}_simd8`,
    constants: { VECTORS: headDim / 4 },
    groups: Math.ceil(perKeyHead / NARROW_PAIRS) * kvHeads,
  };
}

/** Tensors of a kernel by the names in its text; undefined counts as left out. */
type Bindings = Record<string, TensorInfo | undefined>;

function runPass(name: KernelName, bindings: Bindings, pass: Pass): void {
  const { rows, shape, prefix = false, afterPrefix = false } = pass;
  const { heads, kvHeads, headDim, scale, softcap } = shape;
  const { groups, conditions, ...variant } = chooseKernel(name, pass);
  const windowed: Conditions = name === "attention_grad_kv" ? { WINDOW: bindings.walk !== undefined } : {};
  runKernel({
    ...variant,
    conditions: { ...conditions, ...windowed, SOFTCAP: softcap !== undefined },
    bindings,
    params: {
      rows,
      heads,
      kv_heads: kvHeads,
      scale: name === "attention" ? powerScale(shape) : scale,
      vectors: headDim / 4,
      prefix: +prefix,
      after_prefix: +afterPrefix,
      ...(softcap === undefined ? {} : { softcap }),
    },
    workgroups: foldGrid(groups),
  });
}

export const runAttention = (bindings: Bindings, pass: Pass) => runPass("attention", bindings, pass);

export const runAttentionGradQ = (bindings: Bindings, pass: Pass) =>
  runPass("attention_grad_q", bindings, pass);

/** With `walk` the keys of a prefix are seen through a window. */
export const runAttentionGradKv = (bindings: Bindings, pass: Pass) =>
  runPass("attention_grad_kv", bindings, pass);

/** @returns f32 [N, heads, 2]: the log of each softmax's sum, and do.o. The caller disposes it. */
export function gradStats(o: TensorInfo, dy: TensorInfo, softmax: TensorInfo, headDim: number): TensorInfo {
  const stats = newTensor(softmax.shape);
  const count = softmax.shape[0] * softmax.shape[1];
  runKernel({
    kernel: "attention_grad_stats",
    constants: { WG: STATS_WG },
    bindings: { o, d_o: dy, softmax, stats },
    params: { count, vectors: headDim / 4 },
    workgroups: foldGrid(Math.ceil(count / STATS_WG)),
  });
  return stats;
}
