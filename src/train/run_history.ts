/** What a run's folder tells of a run that goes on: what was changed on the way, and whether its rows are all there. */
import { join } from "node:path";
import { type Change, changeText, movesSchedule } from "../config/resume.ts";
import type { RunConfig } from "../config/sweep.ts";
import { isThere } from "../io/files/presence.ts";
import { openAppendLog } from "../io/records/append_log.ts";
import type { MetricRow } from "../tracking/metrics.ts";
import { CHANGES_FILE } from "../tracking/run_records.ts";

/**
 * Names what is changed from the step on that comes after `step`, and keeps it in changes.jsonl; what was written there
 * of later steps goes, as these are done again.
 */
export async function recordChanges(
  runDir: string,
  { step, changes }: { step: number; changes: readonly Change[] },
  config: RunConfig,
  onMessage: (text: string) => void,
): Promise<void> {
  for (const change of changes) onMessage(`Changed ${changeText(change, step + 1)}`);
  if (changes.some((change) => movesSchedule(change, config))) {
    onMessage("The learning rate follows the schedule as it is set now, as if it had been so from step 1 on");
  }
  const path = join(runDir, CHANGES_FILE);
  if (changes.length === 0 && !await isThere(path)) return;
  const log = openAppendLog(path, step);
  try {
    for (const { key, before = null, now = null } of changes) {
      log.append({ step: step + 1, key, before, now });
    }
    log.sync();
  } finally {
    log.close();
  }
}

/** "1 to 4, 6" of numbers that go up by `every`. */
function rangesText(numbers: readonly number[], every: number): string {
  const ranges: [first: number, last: number][] = [];
  for (const number of numbers) {
    const open = ranges.at(-1);
    if (open && number === open[1] + every) open[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => first === last ? `${first}` : `${first} to ${last}`).join(", ");
}

/**
 * What is missing of the log of a run that has come to `step`, in words; null where nothing is.
 * @param every steps of a generation batch, which has a row
 */
export function missingRows(rows: readonly MetricRow[], step: number, every: number): string | null {
  const there = new Set(rows.filter(({ num_tokens }) => num_tokens !== undefined).map((row) => row.step));
  const missing: number[] = [];
  for (let done = every; done <= step; done += every) if (!there.has(done)) missing.push(done);
  if (missing.length === 0) return null;
  return `metrics.jsonl has no row of step ${
    rangesText(missing, every)
  }, of ${step} that are done: it was cut, or ` +
    "removed. Training goes on from the checkpoint, which needs none of them; report and plots show what is there";
}
