/**
 * Signals for every rank. mpirun keeps SIGTERM and Ctrl-C for itself and then kills its ranks within a second, amid a
 * checkpoint; so ranks leave their process ids with the launcher, which sends each of them the signal itself.
 */
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** "PID FOLDER": the launcher's process, and where the ranks of it write theirs. */
const VARIABLE = "GRPO_WEBGPU_ROLL_CALL";
const LOOK_MS = 5000;

export interface RollCall {
  /** For the environment of the ranks. */
  variables: Record<string, string>;
  /** Process ids by rank; null until all have answered. */
  present(): number[] | null;
  close(): void;
}

/** The launcher's side. @param size number of ranks */
export function openRollCall(size: number): RollCall {
  const folder = mkdtempSync(join(tmpdir(), "grpo-webgpu-ranks-"));
  return {
    variables: { [VARIABLE]: `${process.pid} ${folder}` },
    present() {
      try {
        return Array.from(
          { length: size },
          (_, rank) => Number(readFileSync(join(folder, `${rank}`), "utf8")),
        );
      } catch {
        return null; // one has not answered yet
      }
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/**
 * A rank's side, once it listens for signals: answers, and asks itself for an orderly end when the launcher is gone.
 * Does nothing where ranks were started otherwise.
 */
export function answerRollCall(
  rank: number,
  env: Readonly<Record<string, string | undefined>> = process.env,
): void {
  const [, pid, folder] = /^(\d+) (.+)$/.exec(env[VARIABLE] ?? "") ?? [];
  if (pid === undefined) return;
  writeFileSync(join(folder, `.${rank}`), String(process.pid));
  renameSync(join(folder, `.${rank}`), join(folder, `${rank}`));
  const timer = setInterval(() => {
    if (isRunning(Number(pid))) return;
    clearInterval(timer);
    process.kill(process.pid, "SIGTERM");
  }, LOOK_MS);
  timer.unref();
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code === "EPERM"; // another user's
  }
}
