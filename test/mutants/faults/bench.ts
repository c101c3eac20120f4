/** Faults of the cost model (bench/predict) and what it asks of the program, and of the GPU report. */
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
    file: "bench/gpu_report/conductor.ts",
    find: "      resolve(null);\n",
    replace: "",
    harm: "a part of the GPU report that hangs is waited for without end, and no part follows",
    tests: ["unit/gpu_report.test.ts#a part that hangs"],
  },
  {
    file: "bench/gpu_report/conductor.ts",
    find: "report.lines.push(line);",
    replace: 'if (part.name !== "torch") report.lines.push(line);',
    harm: "what PyTorch measured is not in the GPU report",
    tests: ["unit/gpu_report.test.ts#a part that hangs"],
  },
  {
    file: "bench/gpu_report/report_line.ts",
    find: "= fieldsOf(text) ?? {};",
    replace: "= JSON.parse(text);",
    harm: "a warning that PyTorch prints ends the GPU report",
    tests: ["unit/gpu_report.test.ts#a line of PyTorch's"],
  },
  {
    file: "bench/gpu_report/report_table.ts",
    find: "b.seconds - a.seconds",
    replace: "a.seconds - b.seconds",
    harm: "the GPU report holds a case against the bound that does not bind it",
    tests: ["unit/gpu_report.test.ts#slower bound"],
  },
  {
    file: "bench/gpu_report/command.ts",
    find: "0 : 1",
    replace: "0 : 0",
    harm: "a GPU report that found out nothing ends well",
    tests: ["e2e/gpu_report.test.ts#without an adapter"],
  },
];
