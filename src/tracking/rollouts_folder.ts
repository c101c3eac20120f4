/** The files under a run's rollouts/ folder. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { ROLLOUTS_FOLDER, rolloutsFile, stepsWithRollouts } from "./rollout_records.ts";
import type { RolloutRecord } from "./rollout_records.ts";
import type { WriteText } from "./samples_folder.ts";
import type { Sink } from "./sink.ts";

/** Digits that tell an f32 from every other. */
const F32_DIGITS = 9;

/** Log-probs are f32: with all digits of a double they would take twice the room, and say no more. */
const shortened = (values: readonly number[] | null) =>
  values?.map((value) => Number.isFinite(value) ? Number(value.toPrecision(F32_DIGITS)) : null) ?? null;

function lineOf(rollout: RolloutRecord): string {
  const logprobs = shortened(rollout.logprobs);
  const ref_logprobs = shortened(rollout.ref_logprobs);
  return `${JSON.stringify({ ...rollout, logprobs, ref_logprobs })}\n`;
}

/** Writes rollouts/{step}.jsonl.gz: a step that is done again has the same bytes again. */
export function rolloutsFolder(writeText: WriteText): Sink {
  let folder = "";
  return {
    name: "rollouts/",
    isRecord: true,
    async start({ runDir, firstStep }) {
      folder = join(runDir, ROLLOUTS_FOLDER);
      // Of steps after the checkpoint: the run may come to others, and has perhaps stopped keeping them.
      for (const step of await stepsWithRollouts(runDir)) {
        if (step >= firstStep) await rm(join(folder, rolloutsFile(step)));
      }
    },
    async completions({ step, rollouts }) {
      const bytes = await promisify(gzip)(rollouts.map(lineOf).join(""));
      await writeText(join(folder, rolloutsFile(step)), bytes);
    },
  };
}
