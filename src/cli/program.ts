/** How a program of tasks runs: `<entry> <task> [arguments]`. */
import { setTimeout } from "node:timers/promises";
import { nearestName } from "../config/unknown_key.ts";
import { closeOpened } from "../gpu/at_end.ts";
import { systemCode } from "../io/files/errors.ts";
import { writeError } from "./terminal/output.ts";
import { launchedWorld } from "../parallel/launched_world.ts";
import { exitCodeOf } from "./exit_codes.ts";

/** mpirun and srun end the others of a rank that fails within 1 or 2 s. */
const OTHERS_WAIT_MS = 4000;

/** Loads a task by name; a task takes its arguments and returns the exit code. */
export type Tasks = Readonly<Record<string, () => Promise<(args: string[]) => Promise<number>>>>;

/** Errors of a known class speak to the user; their stack is for whoever asks with GRPO_DEBUG=1. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Some of the runtime's own say nothing but their name.
  const said = error.message.trim() || error.stack || error.name;
  return process.env.GRPO_DEBUG ? error.stack ?? said : said;
}

function unknownTask(task: string, tasks: readonly string[]): RangeError {
  const nearest = nearestName(task, tasks);
  const meant = nearest === null ? "" : `; did you mean "${nearest}"?`;
  return new RangeError(`Unknown task "${task}"; tasks: ${tasks.join(", ")}${meant}`);
}

/** A reader that has seen enough (`| head`) is no reason to end what goes on without one. */
function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error) => {
      if (systemCode(error) !== "EPIPE") throw error;
    });
  }
}

/** Runs the task that the command line names, closes the GPU and ends the process with the task's exit code. */
export async function runProgram(tasks: Tasks): Promise<never> {
  const [task = "", ...args] = process.argv.slice(2);
  outliveReaders();
  try {
    const load = Object.hasOwn(tasks, task) ? tasks[task] : undefined;
    if (!load) throw unknownTask(task, Object.keys(tasks));
    process.exitCode = await (await load())(args);
  } catch (error) {
    const rank = launchedWorld(process.env)?.rank ?? 0;
    // What all ranks fail of alike, the first says, whose end ends this one.
    if (rank > 0) await setTimeout(OTHERS_WAIT_MS);
    writeError(`${rank > 0 ? `Rank ${rank}: ` : ""}${explain(error)}\n`);
    process.exitCode = exitCodeOf(error);
  } finally {
    await closeOpened();
  }
  // Dawn's objects keep Node's event loop alive; everything is written and closed by now.
  process.exit();
}
