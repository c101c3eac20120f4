/** Faults of the cost model (bench/predict), of what it asks of the program, and of the peers. */
import type { Fault } from "../fault.ts";

export const faults: readonly Fault[] = [
  {
    file: "src/gpu/rehearsal.ts",
    find: "features: features ? new Set(features) : real.features,",
    replace: "features: real.features,",
    harm: "a step that is predicted for another GPU runs the kernels of the features that this machine has",
    tests: ["gpu/predicted_step.test.ts"],
  },
  {
    file: "bench/predict/model.ts",
    find: "(left > 0 ? last[0] : 0)",
    replace: "0",
    harm: "a kernel that does not fill the device is predicted to take no time",
    tests: ["unit/bench_predict.test.ts"],
  },
  {
    file: "bench/predict/model.ts",
    find: "alone * longest",
    replace: "alone",
    harm: "attention is predicted to end when its mean row does",
    tests: ["unit/bench_predict.test.ts"],
  },
  {
    file: "bench/predict/model.ts",
    find: "touched <= device.cacheSize / 2 ? freshBytes : 0",
    replace: "freshBytes",
    harm: "activations that no cache holds are predicted to cost no memory",
    tests: ["unit/bench_predict.test.ts"],
  },
  {
    file: "bench/predict/timeline.ts",
    find: "cpu = Math.max(cpu, done[event.submits]);",
    replace: "",
    harm: "JavaScript is predicted to go on before it has read what it waits for",
    tests: ["unit/bench_predict.test.ts"],
  },
  {
    file: "bench/predict/place.ts",
    find: "hasPrefix(inputs) ? seen.shared : seen.whole",
    replace: "seen.shared",
    harm: "passes over whole texts are predicted to see completions alone",
    tests: ["unit/bench_predict.test.ts"],
  },
  {
    file: "bench/predict/record.ts",
    find: "    device.queue.submit = submit;\n    device.createBuffer",
    replace: "    device.createBuffer",
    harm: "submits of one recording count in the next",
    tests: ["gpu/predicted_step.test.ts"],
  },
  {
    file: "bench/quickstart_bench.ts",
    find: "timing: summarize(samples[r].slice(1), 1),",
    replace: "timing: summarize(samples[r], 1),",
    harm: "the compiling of kernels is told as time of a quickstart step beside TRL's",
    tests: ["gpu/bench_peers.test.ts"],
  },
  {
    file: "bench/peers/python.ts",
    find: "for (const { reject } of waiting.splice(0)) reject(ended);",
    replace: "",
    harm: "a benchmark waits forever for a Python that is not there",
    tests: ["gpu/bench_peers.test.ts"],
  },
  {
    file: "bench/train_table.ts",
    find: "orNone(peakBytes === null ? null : peakBytes / 1e6),",
    replace: "threeDigits((peakBytes ?? 0) / 1e6),",
    harm: "torch on the CPU is told to hold no memory",
    tests: ["unit/bench_tables.test.ts"],
  },
];
