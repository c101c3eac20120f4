/** Faults of runs that go on with other settings, prompts or a damaged folder, and of runs that look for the best step. */
import type { Fault } from "../fault.ts";

const BEST = ["gpu/training_best.test.ts"];
const RULES = ["unit/best_metric.test.ts"];
const SAVED = ["unit/save_run.test.ts"];
const CONTENTS = ["unit/run_contents.test.ts"];

export const faults: readonly Fault[] = [
  {
    file: "src/train/checkpointing.ts",
    find: "  if (checkpoint === undefined) assertSomeIsWhole(runDir, skipped);",
    replace: "",
    harm: "where every checkpoint is damaged the run starts over and deletes metrics, samples and events",
    tests: [...SAVED, "gpu/training_run.test.ts#without one whole"],
    claim: 9,
  },
  {
    file: "src/train/checkpointing.ts",
    find:
      "    assertSameInputs(saved.inputs, inputs, { allowNewPrompts: config.allow_new_prompts, checkpoint: dir });",
    replace: "",
    harm: "a run goes on with other prompts or over another model, without a word",
    tests: SAVED,
    claim: 10,
  },
  {
    file: "src/train/run_inputs.ts",
    find: "  if (otherFiles.length > 0) {",
    replace: "  if (otherFiles.length > 0 && !allowNewPrompts) {",
    harm: "who allows new prompts also gets another reference model",
    tests: SAVED,
  },
  {
    file: "src/train/run_inputs.ts",
    find: "saved[set]?.sha256 !== current[set]?.sha256",
    replace: "saved[set]?.name !== current[set]?.name",
    harm: "a file of prompts that was moved is refused, and one that was replaced in its place is taken",
    tests: SAVED,
  },
  {
    file: "src/io/files/sha256.ts",
    find: "    if (this.#isEnded) return; // a reader that was ahead of who asked it\n",
    replace: "",
    harm: "a gzipped file of prompts has another hash at each start, and its run is refused on resume",
    tests: CONTENTS,
  },
  {
    file: "src/io/files/sha256.ts",
    find: "sample * (size - SAMPLE_BYTES) / (SAMPLES - 1)",
    replace: "sample * SAMPLE_BYTES",
    harm: "of weights only the first MiB is looked at",
    tests: CONTENTS,
  },
  {
    file: "src/train/run_history.ts",
    find: "  const log = openAppendLog(path, step);",
    replace: "  const log = openAppendLog(path, step + 1);",
    harm: "a change that a killed run never came to is recorded twice",
    tests: BEST,
  },
  {
    file: "src/train/run_history.ts",
    find: "  for (let done = every; done <= step; done += every)",
    replace: "  for (let done = every; done < step; done += every)",
    harm: "a log that lacks its last row before the checkpoint is taken for whole",
    tests: BEST,
  },
  {
    file: "src/train/saved_state.ts",
    find: "const number = z.number(); // zod's are finite",
    replace: "const number = z.any();",
    harm: "a null lambda trains on",
    tests: ["unit/saved_state.test.ts"],
    claim: 9,
  },
  {
    file: "src/rl/best_metric.ts",
    find: "greater_is_better ?? !isCost(metric)",
    replace: "greater_is_better ?? true",
    harm: "the step with the highest cost is kept as the best",
    tests: RULES,
  },
  {
    file: "src/rl/best_metric.ts",
    find: "  if (step === 0) return before;",
    replace: "",
    harm: "the policy before training is the best, and has no checkpoint",
    tests: RULES,
  },
  {
    file: "src/train/due.ts",
    find: "  if (best.step === progress.step) {\n    await save(run, progress);",
    replace: "  if (best.step === progress.step) {",
    harm: "the best step has no checkpoint unless one was due",
    tests: BEST,
  },
  {
    file: "src/train/run.ts",
    find: ".reduce((before, row) => bestAfter(before, row, config), known)",
    replace: ".reduce((before) => before, known)",
    harm: "a resumed run forgets the evaluation that came after its checkpoint, and stops too late",
    tests: BEST,
  },
  {
    file: "src/io/records/checkpoint.ts",
    find: "    if (step === bestStep && step !== newestStep) room = Math.max(1, room - 1);\n    else",
    replace: "   ",
    harm: "save_total_limit removes the best checkpoint",
    tests: SAVED,
  },
  {
    file: "src/assembly/evaluated_run.ts",
    find: "step: await bestStepOf(runDir) ?? Infinity",
    replace: "step: Infinity",
    harm: "the best model is evaluated with the lambda of the last step",
    tests: BEST,
  },
];
