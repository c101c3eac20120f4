/**
 * A rank of a short run of a model of random weights, all of which are trained, for zero.test.ts; started by mpirun:
 *
 *   zero_rank.ts MODEL FOLDER [KEY=VALUE...]
 *
 * Every prompt and completion is as long as may be, so that the memory plan's worst case is the run. Prints a line
 * "measured {...}" of JSON for each rank.
 */
import process from "node:process";
import { openRanks } from "../../src/assembly/ranks.ts";
import { assembleRun } from "../../src/assembly/run.ts";
import { loadConfig } from "../../src/config/load.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import type { Answer, Scorer } from "../../src/scorer/protocol.ts";

export interface Measured {
  rank: number;
  plannedBytes: number;
  peakBytes: number;
  /** Of each step, evaluations and checkpoints left out. */
  sentBytes: number[];
  parameters: number;
  sumsLayers: boolean;
}

const [model, folder, ...overrides] = process.argv.slice(2);
const { communicator, close } = await openRanks();
const [config] = sweepRuns(loadConfig({ text: `model_name: ${model}`, fileName: "zero" }, {
  overrides: [`output_dir=${folder}`, ...overrides],
  worldSize: communicator.size,
}));
const scorer: Scorer = {
  score: (answers: readonly Answer[]) =>
    Promise.resolve({
      rewards: answers.map(({ completion }) => completion.length % 7),
      costs: answers.map(({ completion }) => completion.length % 3 - 1),
    }),
};
const run = await assembleRun(config, { communicator, scorer });
const sentBytes: number[] = [];
let before = 0;
const { peakBytes } = await run.train({
  onStart() {},
  onGenerating: () => void (before = communicator.bytesSent), // the last time where all have ended
  onStep: () => void sentBytes.push(communicator.bytesSent - before),
  onEvaluation() {},
  onMessage: console.log,
});
const { plan } = run.facts.memory;
const measured: Measured = {
  rank: communicator.rank,
  plannedBytes: plan.peakBytes,
  peakBytes,
  sentBytes,
  parameters: run.facts.parameterCount,
  sumsLayers: plan.sumsLayers === true,
};
console.log(`measured ${JSON.stringify(measured)}`);
await run.close();
await close();
process.exit();
