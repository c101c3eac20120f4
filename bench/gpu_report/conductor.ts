/** Runs the parts of a GPU report one after the other, and writes what they say as they say it. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { writeFileAtomic } from "../../src/io/files/atomic_files.ts";
import { ROOT, RUNTIME_ARGS } from "../program.ts";
import { type Part, TOTAL_SECONDS } from "./parts.ts";
import { readLine, readTorchLine, type ReportLine } from "./report_line.ts";
import type { PartReport } from "./report_table.ts";

export interface ConductOptions {
  /** Tiny shapes, to see on any device whether all of it runs. */
  isSmall: boolean;
  /** A file that is written again after every line. */
  jsonFile: string;
  /** The Python that has PyTorch. */
  python: string;
  /** Told of each part as it begins, and of each of its lines. */
  onProgress(text: string): void;
}

const own = (name: string) => fileURLToPath(new URL(name, import.meta.url));

function commandOf({ name, limitSeconds }: Part, { isSmall, python }: ConductOptions): [string, string[]] {
  const small = isSmall ? ["--small"] : [];
  if (name === "torch") {
    return [python, [own("torch_peer.py"), "--seconds", String(limitSeconds - 15), ...small]];
  }
  return [process.execPath, [...RUNTIME_ARGS, own("part.ts"), name, ...small]];
}

/**
 * Runs one part, for no longer than it may.
 * @returns why it ended early; null where it did not
 */
async function runPart(
  part: Part,
  allowedSeconds: number,
  options: ConductOptions,
  onLine: (line: ReportLine) => void,
) {
  const [program, args] = commandOf(part, options);
  const read = part.name === "torch" ? readTorchLine : readLine;
  const child = spawn(program, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  const said: string[] = []; // the end of what it complained of
  createInterface({ input: child.stderr }).on("line", (text) => {
    said.push(text);
    if (said.length > 5) said.shift();
  });
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (text) => {
    const line = read(text);
    if (line) onLine(line);
  });
  const code = await new Promise<number | string | null>((resolve) => {
    const timer = setTimeout(() => {
      // Nobody waits for its end: a process that hangs in a driver cannot be killed, nor can what it started itself.
      child.kill("SIGKILL");
      child.unref();
      child.stdout.destroy();
      child.stderr.destroy();
      resolve(null);
    }, allowedSeconds * 1000);
    const end = (code: number | string) => {
      clearTimeout(timer);
      resolve(code);
    };
    child.on("error", (error) => end(error.message));
    child.on("close", (code, signal) => end(code ?? signal ?? 1));
  });
  if (code === null) return `stopped after its ${allowedSeconds.toFixed(0)} s`;
  if (code === 0) return null;
  return `ended with ${code}${said.length > 0 ? `: ${said.join(" | ").slice(0, 300)}` : ""}`;
}

/** Runs the parts; each keeps what it said, also where it fails, and takes none with it. */
export async function conductReport(parts: readonly Part[], options: ConductOptions): Promise<PartReport[]> {
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  const reports: PartReport[] = [];
  for (const part of parts) {
    const start = elapsed();
    const report = { part: part.name, seconds: 0, stopped: null as string | null, lines: [] as ReportLine[] };
    reports.push(report);
    const allowed = Math.min(part.limitSeconds, TOTAL_SECONDS - start);
    options.onProgress(`${part.name}: ${part.about} (at most ${allowed.toFixed(0)} s)`);
    let written = Promise.resolve();
    const save = () => written = written.then(() => writeFileAtomic(options.jsonFile, reportJson(reports)));
    report.stopped = allowed < 1 ? "no time was left" : await runPart(part, allowed, options, (line) => {
      report.lines.push(line);
      report.seconds = elapsed() - start;
      options.onProgress(`${part.name}: ${line.name}`);
      void save();
    });
    report.seconds = elapsed() - start;
    await save();
  }
  return reports;
}

const reportJson = (reports: readonly PartReport[]) =>
  `${JSON.stringify({ date: new Date().toISOString(), parts: reports }, null, 2)}\n`;
