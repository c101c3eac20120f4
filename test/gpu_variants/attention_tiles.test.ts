/** Attention in tiles, as GPUs run it, gives the bits of the plain kernels: outputs and every gradient. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { OpCase } from "../cases/case.ts";
import { attentionCase, sharedCase } from "../cases/attention/attention.ts";
import { caseOperands, disposeOperands } from "../cases/operands.ts";
import { flush } from "../../src/gpu/queue.ts";
import { type Dispatch, withDispatchLog, withGpuLanes, withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { tileConstants } from "../../src/ops/attention/attention_tiles.ts";
import { caseBits } from "../gpu/case_bits.ts";
import { runGradient } from "../gpu/case_checks.ts";
import { randomFloats } from "../cases/case.ts";

const NARROW = { heads: 2, kvHeads: 1, headDim: 16 };
const USUAL = { heads: 4, kvHeads: 2, headDim: 64 };
/** Few texts, for a software GPU compiles each for seconds: a width, a prefix or none, a cap or none. */
const CASES: OpCase[] = [
  attentionCase({ ...NARROW, lengths: [1] }),
  attentionCase({ ...NARROW, lengths: [63] }),
  attentionCase({ ...NARROW, lengths: [64] }),
  attentionCase({ ...NARROW, lengths: [65, 3], spare: 2 }),
  attentionCase({ ...NARROW, lengths: [5, 1, 40, 84], spare: 70 }),
  attentionCase({ ...NARROW, lengths: [130], window: 50 }),
  // Scores that rise by hundreds from tile to tile.
  attentionCase({ ...NARROW, lengths: [100, 60], scale: 60 }),
  attentionCase({ ...NARROW, lengths: [9, 255, 256, 257], heads: 1 }),
  attentionCase({ ...NARROW, lengths: [600], heads: 1 }),
  attentionCase({ ...NARROW, lengths: [600], heads: 1, window: 300 }),
  sharedCase({ ...USUAL, prompts: [127], completions: [[1, 30, 99]] }),
  sharedCase({ ...USUAL, prompts: [13, 0, 66, 9], completions: [[5, 1, 57], [4, 9], [3], []], spare: 3 }),
  sharedCase({ ...USUAL, prompts: [13, 70, 9], completions: [[5, 30], [64, 9], [3]], window: 20 }),
  // Splits end with the prompt, inside it, inside a completion, and where the window begins.
  sharedCase({
    ...USUAL,
    kvHeads: 1,
    heads: 1,
    prompts: [256, 300, 255, 200],
    completions: [[2, 257], [5], [3, 1], [60, 40]],
  }),
  sharedCase({ ...USUAL, kvHeads: 1, heads: 1, prompts: [500], completions: [[20, 40], []], window: 265 }),
  attentionCase({ heads: 3, kvHeads: 1, headDim: 80, lengths: [66, 20], window: 33 }),
  sharedCase({ heads: 3, kvHeads: 3, headDim: 128, prompts: [40], completions: [[65, 7]] }),
  // A cap where heads are narrow: of wide ones a software GPU compiles it for a minute.
  sharedCase({
    heads: 3,
    kvHeads: 3,
    headDim: 16,
    prompts: [40],
    completions: [[65, 7]],
    softcap: 2,
    window: 33,
  }),
  // Others in two parts; three vectors a lane. Four, heads of 256, take the compiler of a CPU minutes.
  attentionCase({ heads: 1, kvHeads: 1, headDim: 160, lengths: [40, 30] }),
];

/** Kernels that a case and its gradient run on a GPU. */
function kernelsOf(opCase: OpCase): string[] {
  const log: Dispatch[] = [];
  const operands = caseOperands(opCase);
  withDispatchLog(log, () =>
    withGpuLanes(() => {
      const [{ size }] = opCase.run(operands);
      runGradient(opCase, operands, randomFloats(1, size));
      flush();
    }));
  disposeOperands(operands);
  return log.map(({ kernel }) => kernel.split(" ")[0]).filter((kernel) => kernel.startsWith("attention"));
}

describe("attention in tiles", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const opCase of CASES) {
    it(`${opCase.name}: the bits of the plain kernels`, async () => {
      assert.deepEqual(await caseBits(opCase, withGpuLanes), await caseBits(opCase, withPlainKernels));
    });
  }

  it("runs on a GPU, a prefix in the same launch, and no kernel for a window", () => {
    const kernels = kernelsOf(sharedCase({ ...USUAL, prompts: [9], completions: [[3, 4]], window: 5 }));
    const forward = kernels.indexOf("attention_grad_stats");
    assert.deepEqual([...new Set(kernels.slice(0, forward))], ["attention_tile"]);
    assert.deepEqual(kernels.slice(forward + 1), ["attention_grad_q_tile", "attention_grad_kv_tile"]);
  });

  it("stages as much as a device has room for, and leaves small ones to the plain kernels", () => {
    const gpu = {
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupStorageSize: 49152,
      maxStorageBuffersPerShaderStage: 16,
    };
    const small = { ...gpu, maxComputeWorkgroupStorageSize: 32768 };
    const forward = (headDim: number, limits: typeof gpu) => tileConstants("attention_tile", headDim, limits);
    assert.deepEqual(forward(128, gpu), { VECTORS: 32, ROWS: 64, PART: 32, BLOCKS: 16 });
    assert.deepEqual(forward(128, small), { VECTORS: 32, ROWS: 64, PART: 16, BLOCKS: 8 });
    assert.deepEqual(forward(256, small), { VECTORS: 64, ROWS: 64, PART: 8, BLOCKS: 8 });
    assert.deepEqual(forward(12, small), { VECTORS: 3, ROWS: 64, PART: 32, BLOCKS: 8 });
    const byKeys = tileConstants("attention_grad_kv_tile", 128, small);
    assert.deepEqual(byKeys, { VECTORS: 32, ROWS: 32, PART: 16, BLOCKS: 8 });
    assert.equal(forward(128, { ...gpu, maxComputeWorkgroupStorageSize: 16384 }), undefined);
    assert.equal(forward(128, { ...gpu, maxComputeInvocationsPerWorkgroup: 128 }), undefined);
    assert.equal(forward(128, { ...gpu, maxStorageBuffersPerShaderStage: 10 }), undefined);
  });
});
