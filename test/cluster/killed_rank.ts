/**
 * A rank of a short run of the quickstart's policy, for kills.test.ts; started by mpirun:
 *
 *   killed_rank.ts FOLDER [PHASE RANK]      trains in FOLDER; RANK kills itself (SIGKILL) in PHASE of step 3
 *
 * Scores are made from the texts alone, so that there is nothing else to start.
 */
import { existsSync, readdirSync, writeSync } from "node:fs";
import process from "node:process";
import * as tf from "@tensorflow/tfjs";
import { openRanks } from "../../src/assembly/ranks.ts";
import { assembleRun } from "../../src/assembly/run.ts";
import { loadConfig } from "../../src/config/load.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import type { Communicator } from "../../src/parallel/communicator.ts";
import type { Answer, Scorer } from "../../src/scorer/protocol.ts";
import { textOf } from "../unit/source_files.ts";

const [folder, phase = "", killed = "-1"] = process.argv.slice(2);
const ranks = await openRanks();
const isKilled = ranks.communicator.rank === Number(killed);
let step = 0;

/** Ends this process without a word, where it is the one and the time has come. */
function dieIn(where: string): void {
  if (!isKilled || where !== phase || step !== 2 && where !== "load") return;
  writeSync(2, `dies at ${Date.now()}\n`);
  process.kill(process.pid, "SIGKILL");
}

/** Reductions of tensors are those of gradients. */
function mortal(communicator: Communicator): Communicator {
  let isReduced = false;
  const reduce =
    (name: "allReduceSum" | "reduceScatterSum"): Communicator["reduceScatterSum"] => async (values, wire) => {
      if (!(values instanceof tf.Tensor)) return await communicator[name](values, wire);
      dieIn("backward"); // all of it is queued, and the GPU is at it
      const reduced = communicator[name](values, wire);
      dieIn("reduce");
      await reduced;
      isReduced = true;
    };
  const afterReducing = <A extends unknown[]>(call: (...args: A) => Promise<void>) => async (...args: A) => {
    if (isReduced) dieIn("update");
    isReduced = false;
    await call(...args);
  };
  return {
    ...communicator,
    get bytesSent() {
      return communicator.bytesSent;
    },
    allReduceSum: reduce("allReduceSum"),
    reduceScatterSum: reduce("reduceScatterSum"),
    allGather: afterReducing((values) => communicator.allGather(values)),
  };
}

const scorer: Scorer = {
  score(answers: readonly Answer[]) {
    dieIn("score");
    const letters = answers.map(({ completion }) => new Set(completion).size);
    return Promise.resolve({ rewards: letters, costs: letters.map((count) => 5 - count) });
  },
};

const [config] = sweepRuns(
  loadConfig({ text: textOf("configs/quickstart.yaml"), fileName: "quickstart.yaml" }, {
    overrides: [
      `output_dir=${folder}`,
      "max_steps=4",
      "save_steps=1",
      "eval_jsonl=null",
      "max_completion_length=8",
      `per_device_train_batch_size=${16 / ranks.communicator.size}`,
    ],
  }),
);
const communicator = mortal(ranks.communicator);
const run = await assembleRun(config, {
  communicator,
  scorer,
  events: {
    onBytes(doing) {
      if (doing === "loading") dieIn("load");
      return { update() {}, close() {} };
    },
  },
});
const isSaving = () =>
  existsSync(run.facts.runDir) &&
  readdirSync(run.facts.runDir).some((name) => name.startsWith(".checkpoint-3.partial"));
await run.train({
  onStart: (first) => step = first - 1,
  onGenerating: () => dieIn("generate"),
  onStep(row) {
    // Saving comes next.
    if (isKilled && phase === "save" && row.step === 3) setInterval(() => isSaving() && dieIn("save"), 1);
    else step = row.step;
  },
  onEvaluation() {},
  onMessage: (text) => console.log(text),
});
await run.close();
await ranks.close();
console.log(`rank ${communicator.rank} of ${communicator.size} is done`);
process.exit();
