/** Kept completions that were asked for, as one HTML page. */
import { basename, join, resolve } from "node:path";
import { parsedObject } from "../config/parsed_json.ts";
import { writeFileAtomic } from "../io/files/atomic_files.ts";
import { readIfThere } from "../io/files/presence.ts";
import { rolloutsPage } from "../tracking/report_page.ts";
import type { FoundRollouts, RolloutQuery } from "../tracking/rollout_query.ts";
import { RUN_CONFIG_FILE } from "../tracking/run_records.ts";
import { pieceTextsOf, rolloutSample } from "./rollout_tables.ts";

/**
 * Writes the page to `path`, which it returns.
 * @throws TypeError when a record is none
 * @throws Error when the run's tokenizer or config is broken, or the page cannot be written
 */
export async function writeRolloutsPage(
  path: string,
  runDir: string,
  { rollouts, matching, total }: FoundRollouts,
  { where, sort }: Pick<RolloutQuery, "where" | "sort">,
): Promise<string> {
  const configPath = join(runDir, RUN_CONFIG_FILE);
  const config = await readIfThere(configPath, "read");
  const settings = config === null
    ? {}
    : parsedObject(config, configPath, "remove it, or copy the run's folder again");
  const textOf = await pieceTextsOf(runDir, settings);
  const shown = rollouts.length === matching ? `${matching}` : `${rollouts.length} of ${matching}`;
  const about = [
    `${shown} of ${total} kept completions`,
    ...(where === undefined ? [] : [`where ${where}`]),
    ...(sort === undefined ? [] : [`sorted by ${sort}`]),
  ].join(", ");
  const samples = rollouts.map((rollout) => ({
    step: rollout.step,
    sample: rolloutSample(rollout, textOf, runDir),
  }));
  await writeFileAtomic(path, rolloutsPage(`Rollouts of ${basename(resolve(runDir))}`, about, samples));
  return path;
}
