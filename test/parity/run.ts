/** The `parity` command: every comparison with the reference programs, in Node and in Deno, into docs/parity.md. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Command } from "commander";
import { openGpu } from "../../src/gpu/device.ts";
import { writeFileAtomic } from "../../src/io/files/atomic_files.ts";
import { parityAreas } from "./areas.ts";
import { errorText, parityDocument, type ParityRun } from "./document.ts";
import { isWithin, type Measured, measureLine } from "./line.ts";

const ROOT = new URL("../../", import.meta.url);
const PROGRAM = fileURLToPath(new URL("scripts/dev.ts", ROOT));
const PAGE = new URL("docs/parity.md", ROOT);

/** Measures every line in this runtime, telling each as it is done. @returns the run, and what is above its limit */
async function measure(tell: (text: string) => void): Promise<{ run: ParityRun; failures: string[] }> {
  const { info } = await openGpu();
  const runtime = `${info.runtime} ${info.runtimeVersion.split(" ")[0]}`;
  const errors: Measured[] = [];
  const failures: string[] = [];
  for (const { title, lines } of parityAreas) {
    tell(`${title}\n`);
    for (const line of lines) {
      const worst = await measureLine(line);
      const passes = isWithin(worst, line);
      if (!passes) failures.push(`${runtime}: ${title}: ${line.what}`);
      tell(`  ${passes ? "ok  " : "FAIL"} ${errorText(worst).padEnd(8)} ${line.what}\n`);
      errors.push(worst);
    }
  }
  return { run: { runtime, device: info.name, errors }, failures };
}

/** Errors as text: JSON has neither Infinity nor NaN, and would make of them what passes. */
const toJson = (run: ParityRun): string =>
  JSON.stringify(run, (_, value) => typeof value === "number" ? String(value) : value);

function fromJson(text: string): ParityRun {
  const run: Omit<ParityRun, "errors"> & { errors: (string | { missing: string })[] } = JSON.parse(text);
  return { ...run, errors: run.errors.map((error) => typeof error === "string" ? Number(error) : error) };
}

/** The same command in the other runtime: Deno from the package `deno`, or the Node on the path. */
async function measureInOtherRuntime(): Promise<ParityRun> {
  const [program, args] = "Deno" in globalThis
    ? ["node", ["--import", "tsx"]] as const
    : [fileURLToPath(new URL("node_modules/.bin/deno", ROOT)), ["run", "-A", "--unstable-webgpu"]] as const;
  const { stdout } = await promisify(execFile)(program, [...args, PROGRAM, "parity", "--json"], {
    cwd: fileURLToPath(ROOT),
    maxBuffer: 1 << 26,
  });
  return fromJson(stdout);
}

/** `parity`: returns the exit code, 1 when a line is above its limit. */
export async function parityCommand(args: string[]): Promise<number> {
  const command = new Command("parity")
    .description("Compare with PyTorch, transformers, TRL and safe-rlhf, and write docs/parity.md.")
    .option("--json", "print the errors of this runtime as JSON and write nothing")
    .parse(args, { from: "user" });
  const asJson = command.opts<{ json?: boolean }>().json === true;
  const { run, failures } = await measure((text) =>
    void (asJson ? process.stderr : process.stdout).write(text)
  );
  if (asJson) {
    process.stdout.write(`${toJson(run)}\n`);
    return 0;
  }
  process.stdout.write("The same in the other runtime...\n");
  const other = await measureInOtherRuntime();
  const all = parityAreas.flatMap(({ lines }) => lines);
  const otherFailures = all.filter((line, i) => !isWithin(other.errors[i], line)).length;
  const runs = [run, other].sort((a, b) => b.runtime.localeCompare(a.runtime));
  await writeFileAtomic(fileURLToPath(PAGE), parityDocument(runs));
  const failed = failures.length + otherFailures;
  process.stdout.write(
    `${all.length} comparisons in ${runs.map(({ runtime }) => runtime).join(" and ")}: ` +
      `${failed === 0 ? "all within their limits" : `${failed} above their limits`}. Wrote docs/parity.md.\n`,
  );
  return failed === 0 ? 0 : 1;
}
