/** Runs the sections of docs/measurements.md one after the other, and writes the page. */
import { spawnSync } from "node:child_process";
import * as os from "node:os";
import { delimiter, join } from "node:path";
import { closeGpu, openGpu } from "../src/gpu/device.ts";
import { type Measured, measuredOn } from "./device_line.ts";
import type { Section } from "./measurement_sections.ts";
import { ROOT } from "./program.ts";

/** What all figures of a page have in common. */
export interface PageFacts extends Measured {
  /** Of git, short; says where files differ from it. */
  commit: string;
  /** Cores, memory and system. */
  machine: string;
  isSoftware: boolean;
  /** Sections at sizes of which the figures say nothing. */
  isTiny: boolean;
}

export interface SectionResult {
  section: Section;
  /** What was run: the section's command, or its short form. */
  command: string;
  /** What it printed, and how long it took; null where it was not run, or failed. */
  figures: { text: string; seconds: number } | null;
  /** Why there are no figures. */
  reason: string | null;
}

/** Runs a shell command in the checkout. */
export type RunShell = (command: string) => { code: number; stdout: string; stderr: string };

export const runShell: RunShell = (command) => {
  const bin = join(ROOT, "node_modules", ".bin");
  // Deno is a package of the developers; npm's own lines are no figures.
  const env = {
    ...process.env,
    PATH: `${bin}${delimiter}${process.env.PATH}`,
    npm_config_loglevel: "silent",
  };
  const { status, stdout, stderr } = spawnSync(command, {
    shell: true,
    cwd: ROOT,
    env,
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  return { code: status ?? 1, stdout, stderr };
};

/** Facts of this machine and checkout. The page itself may differ from the commit: it is about to be written. */
export async function pageFacts(
  run: RunShell,
  isTiny: boolean,
  page = "docs/measurements.md",
): Promise<PageFacts> {
  const gpu = await openGpu();
  const measured = measuredOn(gpu);
  const { isSoftware } = gpu.info;
  await closeGpu(); // the sections have it to themselves
  const head = run("git rev-parse --short HEAD").stdout.trim();
  const changed = run(`git status --porcelain -- . ":!${page}"`).stdout.trim();
  const cpus = os.cpus();
  const machine = `${cpus.length} cores (${cpus[0]?.model.trim()}), ${Math.round(os.totalmem() / 1e9)} GB, ` +
    `${os.type()} ${os.release()}`;
  const commit = head === "" ? "unknown: not a git checkout" : head + (changed ? ", with changed files" : "");
  const deno = run("deno --version");
  const runtime = measured.runtime + (deno.code === 0 ? `; ${deno.stdout.split(" (")[0]}` : "");
  return { ...measured, runtime, commit, machine, isSoftware, isTiny };
}

/** Why a section is not run here; null when it can be. */
function missingReason({ needs }: Section, { isSoftware, isTiny }: PageFacts, run: RunShell): string | null {
  if (!needs) return null;
  const isThere = needs.check === null ? isTiny || !isSoftware : run(needs.check).code === 0;
  return isThere ? null : needs.missing;
}

/** The last line that says something. */
const lastLine = (text: string) => text.split("\n").findLast((line) => line.trim() !== "")?.trim();

function measureSection(section: Section, facts: PageFacts, run: RunShell): SectionResult {
  const command = facts.isTiny ? section.tinyCommand ?? section.command : section.command;
  const without = (reason: string) => ({ section, command, figures: null, reason });
  if (facts.isTiny && !section.tinyCommand) return without("it has no short form");
  const missing = missingReason(section, facts, run);
  if (missing) return without(missing);
  const began = performance.now();
  const { code, stdout, stderr } = run(command);
  const seconds = (performance.now() - began) / 1000;
  if (code !== 0) {
    return without(`it failed with exit code ${code}: ${lastLine(stderr) ?? "it said nothing"}`);
  }
  const lines = stdout.split("\n").filter((line) => section.shown?.test(line) ?? true);
  return { section, command, figures: { text: lines.join("\n").trim(), seconds }, reason: null };
}

/**
 * Measures all sections in their order; one that cannot be run, or fails, has a reason in place of figures.
 * @param tell told of each before it runs
 */
export function measureSections(
  sections: readonly Section[],
  facts: PageFacts,
  { run, tell }: { run: RunShell; tell(text: string): void },
): SectionResult[] {
  return sections.map((section, i) => {
    tell(`${i + 1} of ${sections.length}: ${section.title}`);
    return measureSection(section, facts, run);
  });
}
