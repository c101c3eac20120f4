/** What a run was made with, in words, for its report. */
import { arch, platform, release } from "node:os";
import { join } from "node:path";
import { formatBytes } from "../config/units.ts";
import { writeFileAtomic } from "../io/files/atomic_files.ts";
import { PROGRAM_FOLDER } from "../io/files/own_files.ts";
import { readIfThere } from "../io/files/presence.ts";
import { RUN_FACTS_FILE } from "../tracking/run_records.ts";
import type { PlannedMemory } from "./memory.ts";

interface MadeWith {
  runDir: string;
  device: string;
  precision: string;
  parameterCount: number;
  trainedCount: number;
  worldSize: number;
  command?: string;
  memory: PlannedMemory;
}

/**
 * Writes run_facts.json.
 * @param peakBytes of GPU memory, once it is known
 */
export async function writeRunFacts(
  { runDir, device, precision, parameterCount, trainedCount, worldSize, command, memory }: MadeWith,
  peakBytes?: number,
): Promise<void> {
  const facts = {
    ...(command !== undefined && { command }),
    device,
    precision,
    parameters: `${parameterCount}, ${trainedCount} of them trained`,
    ranks: worldSize,
    "GPU memory": `${formatBytes(memory.plan.peakBytes)} planned` +
      (peakBytes === undefined ? "" : `, ${formatBytes(peakBytes)} taken at the most`),
    system: `${platform()} ${release()} ${arch()}`,
    version: await versionText(),
  };
  await writeFileAtomic(join(runDir, RUN_FACTS_FILE), `${JSON.stringify(facts, null, 2)}\n`);
}

/** The program's version, and in a checkout its commit as far as .git tells it in one file. */
async function versionText(): Promise<string> {
  const read = (name: string) =>
    readIfThere(join(PROGRAM_FOLDER, name), "read the program's version from").catch(() => null);
  const { version } = JSON.parse(await read("package.json") ?? "{}");
  const head = (await read(join(".git", "HEAD")))?.trim() ?? "";
  const branch = /^ref: (refs\/[\w./-]+)$/.exec(head)?.[1];
  const commit = branch === undefined ? head : (await read(join(".git", branch)))?.trim() ?? "";
  return /^[0-9a-f]{40,64}$/.test(commit) ? `${version}, commit ${commit}` : `${version}`;
}
