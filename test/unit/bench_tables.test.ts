import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeTable } from "../../bench/decode_table.ts";
import { HEAD_PHASE, type PhaseReport } from "../../bench/job.ts";
import { kernelTable, phaseTable, rooflineShare } from "../../bench/job_table.ts";
import { countTokens, forwardFlops } from "../../bench/model_flops.ts";
import { sinksTable } from "../../bench/sinks_bench.ts";
import { trainTable } from "../../bench/train_table.ts";

const timing = (seconds: number) => ({
  seconds,
  fastestSeconds: seconds,
  spread: 0.05,
  samples: 5,
  runsPerSample: 1,
});
const CEILINGS = { copyGBps: 10, fmaGflops: 100, matrixGflops: null };

function phase(name: string, seconds: number, kernels: PhaseReport["kernels"]): PhaseReport {
  return { name, tokens: 100, flops: 1e9, timing: { ...timing(seconds), jsSeconds: seconds / 4 }, kernels };
}

const PHASES = [
  phase("prefill", 0.1, [{ kernel: "matmul", calls: 2, seconds: 0.06, boundBytes: 5e8 }]),
  phase("decode", 0.3, [
    { kernel: "matmul", calls: 8, seconds: 0.06, boundBytes: 5e8 },
    { kernel: "sample", calls: 4, seconds: 0.08, boundBytes: 0 },
  ]),
  phase(HEAD_PHASE, 0.05, [{ kernel: "head", calls: 1, seconds: 9, boundBytes: 1 }]),
];

test("what sinks cost is the median of the pairs, each with over without, beside the least and the most", () => {
  const pair = (off: number, on: number) => [
    { kind: "off" as const, whole: 10 * off, step: off },
    { kind: "on" as const, whole: 10 * on, step: on },
  ];
  const runs = [pair(1, 1.02), pair(2, 2), pair(1, 1.1)].flat();
  const ratios = [1.02, 1, 1.1].map((ratio) => ({ whole: ratio, step: ratio }));
  const table = sinksTable("here", { steps: 90, runs, ratios });
  assert.match(table, /^here\nruns of the quickstart, 90 steps, 3 pairs\n/);
  assert.match(table, /\nstep +1\.000 +1\.100 +1\.0200 +1\.0000 +1\.1000\n/);
  assert.match(table, /\nwhole +10\.000 +11\.000 +1\.0200 +1\.0000 +1\.1000\n/);
});

test("the phases of a step add up to its line, and a part of a phase is not counted twice", () => {
  const table = phaseTable({ phases: PHASES, ceilings: CEILINGS });
  assert.match(table, /\nprefill +100 +5% +1000 +25% +60\.0 /);
  assert.match(table, /\nstep +400 .*25%$/);
});

test("rooflineShare() is the larger of both ceilings' times over the time taken", () => {
  // 5e8 bytes at 10 GB/s are 50 ms, 1e9 FLOP at 100 GFLOP/s are 10 ms: half of 100 ms.
  assert.ok(Math.abs(rooflineShare(PHASES[0], CEILINGS)! - 0.5) < 1e-12);
  assert.equal(rooflineShare(phase("score", 1, null), CEILINGS), null);
});

test("the kernels of all phases are summed, the longest first, with their time in each", () => {
  const lines = kernelTable({ phases: PHASES, ceilings: CEILINGS }).split("\n");
  assert.match(lines[0], /kernel +calls +ms +share +GB\/s +prefill +decode$/);
  assert.match(lines[1], /^matmul +10 +120 +60% +8\.33 +60\.0 +60\.0$/);
  assert.match(lines[2], /^sample +4 +80\.0 +40% +- +- +80\.0$/);
  assert.equal(lines.length, 3);
  assert.match(kernelTable({ phases: [phase("score", 1, null)], ceilings: CEILINGS }), /no timestamps/);
});

test("a Llama's FLOP are two for each weight and token, and four for each pair that attends and channel", () => {
  const shape = { hidden: 4, intermediate: 8, layers: 1, heads: 2, kvHeads: 1, vocab: 10 };
  // q, o: 2*16; k, v: 2*8; gate, up, down: 3*32; two tokens, three pairs, one row of the head.
  const counts = countTokens([{ from: 0, to: 2, headRows: 1 }]);
  assert.deepEqual(counts, { tokens: 2, attended: 3, headRows: 1 });
  assert.equal(forwardFlops(shape, counts), 2 * 2 * (32 + 16 + 96) + 4 * 3 * 4 + 2 * 4 * 10);
  assert.equal(countTokens([{ from: 2, to: 4, headRows: 0 }]).attended, 3 + 4);
});

test("trainees and decoders are told as multiples of this project's figures, and who was left out and why", () => {
  const trainee = (name: string, seconds: number, peakBytes: number | null) => ({
    name,
    peakBytes,
    timing: timing(seconds),
    check: { meanLogprobs: [-4, -3] as const, gradNorms: [1, 2] as const },
  });
  const trained = trainTable("a GPU", {
    parameters: 15.1e6,
    rows: 8,
    length: 256,
    trainees: [trainee("this project", 2, 1e8), trainee("a peer", 10, 4e8), trainee("on the CPU", 20, null)],
    skipped: [{ name: "another", reason: "it does not compile" }],
  });
  assert.match(trained, /Llama of 15\.1M parameters, 8 rows of 256 tokens/);
  assert.match(trained, /\na peer +10\.0 +5% +205 +5\.00x +400 +4\.00x +-3\.00000 +2\.00000\n/);
  assert.match(trained, /\non the CPU +20\.0 +5% +102 +10\.0x +- +- +-3\.00000 +2\.00000\n/);
  assert.match(trained, /\nanother: not run, it does not compile\n/);
  const decoded = decodeTable("a GPU", {
    rows: 32,
    promptTokens: 64,
    tokens: 17,
    decoders: [{ name: "recorded plan", timing: timing(0.1) }, { name: "a peer", timing: timing(2) }],
    skipped: [{ name: "torch", reason: "Python lacks a package" }],
    replay: { layers: 32, dispatches: 300, fastestMs: 1, medianMs: 1.5 },
  });
  assert.match(decoded, /\na peer +2000 +5% +16\.0 +20\.0x\n/);
  assert.match(decoded, /\ntorch: not run, Python lacks a package\n/);
  assert.match(decoded, /300 dispatches: 1\.50 ms \(median; fastest 1\.00 ms\)/);
});
