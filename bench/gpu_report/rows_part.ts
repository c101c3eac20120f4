/** Ops that are bound by memory, at the sizes of a 7B model: of 60 rows in decoding, of 512 in a pass. */
import { openGpu } from "../../src/gpu/device.ts";
import { emptyTensor } from "../../src/gpu/tensors.ts";
import { rope } from "../../src/ops/attention/rope.ts";
import { ropeTable } from "../../src/ops/attention/rope_table.ts";
import { swiglu } from "../../src/ops/elementwise/swiglu.ts";
import { tokenLogprobs } from "../../src/ops/head/token_logprobs.ts";
import { residualNorm } from "../../src/ops/norm/residual_norm.ts";
import { rmsNorm } from "../../src/ops/norm/rms_norm.ts";
import { adamw } from "../../src/ops/optimizer/adamw.ts";
import {
  advanceDecode,
  initialState,
  sampleTokens,
  type SamplingOptions,
} from "../../src/ops/sampling/sample.ts";
import { uploadTensor } from "../../src/gpu/tensors.ts";
import type { PartContext } from "./report_line.ts";
import { intTensor, randomTensor, timeCase, type TimedCase } from "./timed_case.ts";

const EPS = { eps: 1e-5 };
const ADAMW = { learningRate: 1e-6, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, step: 1 };

const normWeight = (width: number) => ({
  name: "norm",
  shape: [width],
  format: "f32" as const,
  tensor: randomTensor([width]),
  grad: null,
});

function normCases(rows: number, width: number): TimedCase[] {
  const moved = 4 * rows * width;
  return [
    {
      name: `rms norm, ${rows} x ${width}`,
      bytes: 2 * moved,
      make() {
        const [x, weight] = [randomTensor([rows, width]), normWeight(width)];
        return () => rmsNorm(x, weight, EPS);
      },
    },
    {
      name: `rms norm beside the stream, ${rows} x ${width}`,
      bytes: 2 * moved,
      make() {
        const [x, weight] = [randomTensor([rows, width]), normWeight(width)];
        return () => residualNorm(x, weight, EPS);
      },
    },
  ];
}

function ropeCase(rows: number, heads: number, headDim: number): TimedCase {
  return {
    name: `rope, ${rows} x ${heads} heads of ${headDim}`,
    bytes: 8 * rows * heads * headDim,
    make() {
      const { cos, sin, shape } = ropeTable(rows, headDim, 10000);
      const table = { cos: uploadTensor(cos, shape), sin: uploadTensor(sin, shape) };
      const positions = intTensor(Array.from({ length: rows }, (_, i) => i), [rows]);
      const x = randomTensor([rows, heads * headDim]);
      return () => rope(x, positions, table, { headDim });
    },
  };
}

function swigluCase(rows: number, width: number): TimedCase {
  return {
    name: `swiglu, ${rows} x ${width}`,
    bytes: 12 * rows * width,
    make() {
      const [gate, up] = [randomTensor([rows, width]), randomTensor([rows, width])];
      return () => swiglu(gate, up);
    },
  };
}

function logprobsCase(rows: number, vocab: number): TimedCase {
  return {
    name: `log-probs, ${rows} x ${vocab}`,
    bytes: 4 * rows * vocab,
    make() {
      const logits = randomTensor([rows, vocab]);
      const tokens = intTensor(Array.from({ length: rows }, (_, r) => r % vocab), [rows]);
      return () => tokenLogprobs(logits, tokens, { temperature: 1 });
    },
  };
}

function sampleCase(rows: number, vocab: number, options: SamplingOptions): TimedCase {
  return {
    name: `sampling, ${rows} x ${vocab}, top_p ${options.topP}`,
    bytes: 4 * rows * vocab,
    make() {
      const logits = randomTensor([rows, vocab]);
      const table = Int32Array.from({ length: rows * 4 }, (_, i) => i % 4 === 0 ? i / 4 : 1);
      const zeros = () => intTensor(new Int32Array(rows), [rows]);
      const state = initialState(1, 1, [vocab]);
      const decode = {
        rows: intTensor(table, [rows, 4]),
        state: intTensor(state, [state.length]),
        done: zeros(),
        nextToken: zeros(),
        nextPosition: zeros(),
        tokens: intTensor(new Int32Array(rows * 2048), [rows, 2048]),
        seen: intTensor([0], [1]),
        logprobs: randomTensor([rows, 2048]),
      };
      const kept = emptyTensor([1]);
      return () => {
        sampleTokens(logits, decode, options);
        advanceDecode({ ...decode, logprobs: kept });
      };
    },
  };
}

function adamwCase(count: number): TimedCase {
  return {
    name: `AdamW, ${(count / 1e6).toFixed(1)}M parameters`,
    bytes: 32 * count, // four tensors read and written
    make() {
      const [weight, firstMoment, secondMoment, grad] = [1, 2, 3, 4].map(() => randomTensor([count]));
      const clip = emptyTensor([2]);
      return () => adamw({ weight, firstMoment, secondMoment, grad }, clip, ADAMW);
    },
  };
}

/** Says the ops that are bound by memory. */
export async function reportRows({ isSmall, say }: PartContext): Promise<void> {
  await openGpu();
  const [width, wide, heads, headDim, vocab] = isSmall ? [64, 96, 4, 16, 256] : [4096, 11008, 32, 128, 32000];
  const cases: TimedCase[] = [];
  for (const rows of isSmall ? [3] : [60, 512, 2048]) {
    cases.push(...normCases(rows, width), ropeCase(rows, heads, headDim), swigluCase(rows, wide));
  }
  cases.push(logprobsCase(isSmall ? 3 : 1024, vocab), adamwCase(isSmall ? 4096 : 2 ** 26));
  for (const topP of [1, 0.9]) {
    cases.push(sampleCase(isSmall ? 3 : 60, vocab, { temperature: 1, topP, topK: 0 }));
  }
  for (const each of cases) await timeCase(each, say);
}
