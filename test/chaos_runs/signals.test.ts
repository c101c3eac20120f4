/**
 * A signal in any phase, in any way that it may come: the run saves within a step and ends with the documented code,
 * or ends at once where nothing has begun; the same command then ends with the bits of a run that was left alone.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, watch } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { type HeldScorer, startHeldScorer } from "../e2e/held_scorer.ts";
import {
  assertSameRun,
  checkpointSteps,
  inScratchFolder,
  metricRows,
  type Program,
  RUN,
  startCommand,
} from "../e2e/program.ts";
import { leftOut } from "../left_out.ts";
import { isFull, tellRow } from "./counts.ts";
import { DENO, type Runtime, startIn } from "./runtimes.ts";
import { REQUESTS, shortRunArgs } from "./short_run.ts";

const SIGNALS = { SIGTERM: 143, SIGINT: 130, SIGHUP: 129, SIGUSR1: 85, SIGUSR2: 85 } as const;
type SignalName = keyof typeof SIGNALS;
/** What npm does not hand on, and dies of; the run behind it saves all the same. */
const ENDS_NPM: readonly SignalName[] = ["SIGHUP", "SIGUSR2"];
const HANDED_ON: readonly SignalName[] = ["SIGTERM", "SIGINT"];
const END_MS = 60_000;

interface Way {
  runtime: Runtime;
  /** Exit code of the command that was signalled, as a shell counts it. */
  codeOf(signal: SignalName): number;
  start(args: readonly string[]): Program;
  send(program: Program, signal: SignalName): void;
}

const killedBy = (signal: NodeJS.Signals) => 128 + constants.signals[signal];
const NO_NAMESPACE = process.getuid?.() !== 0 && "needs root for a namespace of processes";
const npm = (args: readonly string[]) => ["run", ...args.slice(0, 1), "--", ...args.slice(1)];
const ofNpm = (signal: SignalName) => ENDS_NPM.includes(signal) ? killedBy(signal) : SIGNALS[signal];
const env = { ...process.env, DENO_WEBGPU_BACKEND: "vulkan" };

/** The first process of the namespace that unshare makes, by its number out here. */
function firstProcess({ pid }: Program): number {
  const [first] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
  assert.ok(Number(first) > 0, "unshare has started the program");
  return Number(first);
}

const WAYS: Readonly<Record<string, Way>> = {
  npm: {
    runtime: "node",
    codeOf: ofNpm,
    start: (args) => startCommand("npm", npm(args), { env }),
    send: ({ pid }, signal) => process.kill(pid, signal),
  },
  "deno task": {
    runtime: "deno",
    codeOf: (signal) => SIGNALS[signal],
    start: (args) => startCommand(DENO, ["task", ...args], { env }),
    send: ({ pid }, signal) => process.kill(pid, signal),
  },
  "a group of npm's": {
    runtime: "node",
    codeOf: ofNpm,
    start: (args) => startCommand("npm", npm(args), { env, detached: true }),
    send: ({ pid }, signal) => process.kill(-pid, signal),
  },
  ...NO_NAMESPACE === false && {
    "process 1": {
      runtime: "node",
      codeOf: (signal) => SIGNALS[signal],
      start: (args) =>
        startCommand("unshare", [
          "--fork",
          "--pid",
          "--mount-proc",
          "--kill-child",
          process.execPath,
          "scripts/start.mjs",
          ...args,
        ], { env }),
      send: (program, signal) => process.kill(firstProcess(program), signal),
    },
  },
};
leftOut("signals to process 1", NO_NAMESPACE);

interface Started {
  program: Program;
  scorer: HeldScorer;
  runDir: string;
}

/** Waits until a run is in the phase. @param request at which the scorer is held, if it is */
interface Phase {
  request?: number;
  comes(started: Started): Promise<unknown>;
  /** Whether the scorer answers again once the signal is sent. */
  answers?: boolean;
}

/** Resolves once something of that name is begun in a folder that is made meanwhile. */
async function begun(folder: string, name: RegExp): Promise<void> {
  while (!existsSync(folder)) await wait(5);
  await new Promise<void>((resolve) => {
    const watcher = watch(folder, (_, changed) => {
      if (!name.test(changed ?? "")) return;
      watcher.close();
      resolve();
    });
  });
}

const PHASES: Readonly<Record<string, Phase>> = {
  "start-up": { comes: () => wait(700) },
  // The scorer's health is asked for before models load.
  "loading models": { request: 0, answers: true, comes: ({ scorer, program }) => scorer.holds(program) },
  "compiling kernels": {
    request: 0,
    async comes({ scorer, program }) {
      await scorer.holds(program);
      scorer.release();
      await wait(600);
    },
  },
  generating: { comes: ({ program }) => program.says(/^step +1\/4/m) },
  "scoring, by a scorer that hangs": {
    request: REQUESTS.step[2],
    comes: ({ scorer, program }) => scorer.holds(program),
  },
  updating: {
    request: REQUESTS.step[2],
    async comes({ scorer, program }) {
      await scorer.holds(program);
      scorer.release();
      await wait(20);
    },
  },
  saving: { comes: ({ runDir }) => begun(runDir, /^\.checkpoint-2\.partial/) },
  evaluating: {
    request: REQUESTS.evaluation[0],
    comes: ({ scorer, program }) => scorer.holds(program),
  },
};

const stepsIn = (runDir: string) =>
  existsSync(join(runDir, "metrics.jsonl")) ? metricRows(runDir).at(-1)?.step ?? 0 : 0;

/** Signals a run in a phase, and has it go on. @returns seconds from the signal to the end */
async function tryCase(
  folder: string,
  { phase, signal, way, scorer, whole }: {
    phase: Phase;
    signal: SignalName;
    way: Way;
    scorer: HeldScorer;
    whole: string;
  },
): Promise<number> {
  const args = shortRunArgs(folder, scorer.url);
  const runDir = join(folder, RUN);
  scorer.taken();
  scorer.holdAt(phase.request ?? -1);
  const program = way.start(args);
  await phase.comes({ program, scorer, runDir });
  const before = stepsIn(runDir);
  const began = performance.now();
  way.send(program, signal);
  if (phase.answers) scorer.release();
  const { code, signal: endedBy, output } = await Promise.race([
    program.finished,
    wait(END_MS, undefined, { ref: false }).then(() =>
      assert.fail(`no end within ${END_MS / 1000} s of ${signal}:\n${program.said()}`)
    ),
  ]);
  const seconds = (performance.now() - began) / 1000;
  scorer.release();
  const shellCode = code ?? killedBy(endedBy!);
  // Before the program is there, a signal does what it does to any program.
  const isEarly = phase === PHASES["start-up"] && shellCode === killedBy(signal);
  if (!isEarly) assert.equal(shellCode, way.codeOf(signal), output);
  // npm's own, which no program behind it can keep shut; Deno's is said, and shut at once.
  const debuggers = output.match(/^Debugger listening/gm)?.length ?? 0;
  assert.ok(
    debuggers <= (signal === "SIGUSR1" && (way.codeOf === ofNpm || way.runtime === "deno") ? 1 : 0),
    output,
  );
  const after = stepsIn(runDir);
  // What npm keeps to itself is noticed within a quarter of a second, in which this run takes steps.
  const isHeardLate = way.start === WAYS.npm.start && !HANDED_ON.includes(signal);
  if (after > 0) {
    assert.ok(
      isHeardLate || after <= before + 1,
      `step ${before} was done at the signal, ${after} at the end`,
    );
    assert.ok(checkpointSteps(runDir).includes(after), `step ${after} is not saved:\n${output}`);
  } else assert.ok(!existsSync(runDir) || readdirSync(runDir).length > 0, output);
  const rest = startIn(way.runtime, args);
  assert.equal((await rest.finished).code, 0, `${output}\n---\n${rest.said()}`);
  assertSameRun(runDir, whole);
  return seconds;
}

it("a signal saves within one step and ends with its code, in every phase and in every way", async () => {
  const scorer = await startHeldScorer();
  const names = Object.keys(WAYS);
  const signals = Object.keys(SIGNALS) as SignalName[];
  const only = process.env.CHAOS_ONLY ? new RegExp(process.env.CHAOS_ONLY) : null;
  const cases = Object.keys(PHASES).flatMap((phase, p) =>
    signals.flatMap((signal, s) => names.map((way, w) => ({ phase, signal, way, place: [p, s, w] })))
  ).filter(({ phase, signal, way, place: [p, s, w] }) =>
    only?.test(`${phase} ${signal} ${way}`) ??
      (isFull || (s === p % signals.length && w === (p + Math.floor(p / names.length)) % names.length))
  );
  try {
    await inScratchFolder(async (dir) => {
      const whole: Partial<Record<Runtime, string>> = {};
      for (const runtime of ["node", "deno"] as const) {
        const folder = join(dir, runtime);
        mkdirSync(folder);
        const program = startIn(runtime, shortRunArgs(folder, scorer.url));
        assert.equal((await program.finished).code, 0, program.said());
        whole[runtime] = join(folder, RUN);
      }
      const failed: string[] = [];
      let slowest = 0;
      for (const [i, { phase, signal, way }] of cases.entries()) {
        const folder = join(dir, `case${i}`);
        mkdirSync(folder);
        const began = performance.now();
        try {
          const seconds = await tryCase(folder, {
            phase: PHASES[phase],
            signal,
            way: WAYS[way],
            scorer,
            whole: whole[WAYS[way].runtime]!,
          });
          slowest = Math.max(slowest, seconds);
          const total = (performance.now() - began) / 1000;
          console.log(
            `  ${phase}, ${signal} to ${way}: ended in ${seconds.toFixed(1)} s of ${total.toFixed(0)} s`,
          );
        } catch (error) {
          failed.push(`${phase}, ${signal} to ${way}: ${(error as Error).message}`);
          console.log(`  FAIL ${failed.at(-1)}`);
        }
      }
      assert.deepEqual(failed, []);
      tellRow(
        "A signal (TERM, INT, HUP, USR1, USR2) to npm, deno task, their process group or process 1 of a container, " +
          `in ${
            Object.keys(PHASES).length
          } phases: saved within a step, the documented exit code, the same bits ` +
          "when the command is started again",
        `${cases.length} of ${cases.length}; ended within ${slowest.toFixed(0)} s`,
      );
    });
  } finally {
    await scorer.close();
  }
});
