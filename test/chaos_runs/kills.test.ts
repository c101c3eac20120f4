/**
 * SIGKILL at any moment, amid a checkpoint, amid the final files and amid an evaluation, in Node and in Deno: the same
 * command goes on, and at its end rows, samples, checkpoint and weights are those of a run that was left alone.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { type HeldScorer, startHeldScorer } from "../e2e/held_scorer.ts";
import { assertSameRun, type Program, RUN } from "../e2e/program.ts";
import { countOf, tellRow } from "./counts.ts";
import { type Runtime, RUNTIMES, startIn } from "./runtimes.ts";
import { REQUESTS, shortRunArgs, STEPS } from "./short_run.ts";

/** Kills that a run suffers before it is left to end. */
const KILLS_A_RUN = 3;
const LOOK_MS = 1;

/** Kills a run once. @returns whether it was there to be killed, and in the state that is asked for */
type Kill = (
  started: { program: Program; runDir: string; scorer: HeldScorer; place: number },
) => Promise<boolean>;

const folder = mkdtempSync(join(tmpdir(), "grpo-kills-"));
const whole = {} as Record<Runtime, string>;
const lastsMs = {} as Record<Runtime, number>;
let scorer: HeldScorer;

before(async () => {
  scorer = await startHeldScorer();
  for (const runtime of RUNTIMES) {
    const dir = join(folder, runtime);
    mkdirSync(dir);
    const program = startIn(runtime, shortRunArgs(dir, scorer.url));
    await program.says(/^steps /m);
    const began = performance.now();
    assert.equal((await program.finished).code, 0, program.said());
    lastsMs[runtime] = performance.now() - began;
    whole[runtime] = join(dir, RUN);
  }
});

after(async () => {
  await scorer.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Once the run's folder is in that state, which may last for less than a millisecond. @returns whether it was */
async function killWhen(program: Program, isThere: () => boolean): Promise<boolean> {
  let isRunning = true;
  program.finished.then(() => isRunning = false);
  while (isRunning && !isThere()) await wait(LOOK_MS);
  try {
    program.signal("SIGKILL");
  } catch {
    return false; // it has ended
  }
  return (await program.finished).signal === "SIGKILL";
}

const namesIn = (dir: string) => existsSync(dir) ? readdirSync(dir) : [];
/** Names in the unfinished folders of checkpoints. */
const unfinishedIn = (dir: string) =>
  namesIn(dir).filter((name) => /^\.checkpoint-\d+\.partial/.test(name))
    .flatMap((name) => [name, ...namesIn(join(dir, name))]);

const KILLS: Readonly<Record<string, { few: number; full: number; kill: Kill }>> = {
  "at a random moment": {
    few: 6,
    full: 50,
    async kill({ program, runDir }) {
      await program.says(/^steps /m);
      const runtime: Runtime = runDir.includes("_node") ? "node" : "deno";
      await Promise.race([wait(Math.random() * lastsMs[runtime]), program.finished]);
      return await killWhen(program, () => true);
    },
  },
  "amid a checkpoint's files": {
    few: 2,
    full: 12,
    // The later, the more of them are there.
    kill: ({ program, runDir, place }) => killWhen(program, () => unfinishedIn(runDir).length > place % 6),
  },
  "amid the final files": {
    few: 2,
    full: 12,
    kill: ({ program, runDir, place }) =>
      killWhen(
        program,
        () =>
          namesIn(runDir).some((name) =>
            [/^\.model\.safetensors\.partial/, /^\.pytorch_model\.bin\.partial/][place % 2].test(name)
          ),
      ),
  },
  "amid an evaluation": {
    few: 2,
    full: 12,
    async kill({ program, place }) {
      scorer.taken();
      scorer.holdAt(REQUESTS.evaluation[place % 2]);
      await scorer.holds(program);
      const isKilled = await killWhen(program, () => true);
      scorer.release();
      return isKilled;
    },
  },
};

/** Rows of a run's metrics.jsonl by their step, each with how often it is there. */
function assertEachRowOnce(runDir: string): void {
  const rows = readFileSync(join(runDir, "metrics.jsonl"), "utf8").trim().split("\n");
  const keys = rows.map((row) => JSON.parse(row)).map((row) => `${row.step} ${"loss" in row}`);
  assert.equal(new Set(keys).size, keys.length, "no row twice");
  assert.deepEqual(keys.filter((key) => key.endsWith("true")).length, STEPS, "no row lost");
}

describe("a run that is killed", () => {
  for (const [when, { few, full, kill }] of Object.entries(KILLS)) {
    const wanted = countOf(few, full);
    it(`${when} ends with the bits of one that was not, ${wanted} kills`, async () => {
      let [kills, runs, missed] = [0, 0, 0];
      while (kills < wanted) {
        const runtime = RUNTIMES[runs % RUNTIMES.length];
        const dir = join(folder, `${when.replaceAll(/\W/g, "_")}${runs}_${runtime}`);
        mkdirSync(dir);
        const runDir = join(dir, RUN);
        const args = shortRunArgs(dir, scorer.url);
        const most = when === "at a random moment" ? Math.min(KILLS_A_RUN, wanted - kills) : 1;
        let ended = false;
        for (let i = 0; i < most && !ended; i++) {
          const isKilled = await kill({ program: startIn(runtime, args), runDir, scorer, place: kills });
          if (isKilled) kills++;
          else {
            ended = true;
            missed++;
          }
        }
        assert.ok(missed <= wanted, "the runs end before they can be killed");
        const rest = startIn(runtime, args);
        assert.equal((await rest.finished).code, 0, rest.said());
        assertEachRowOnce(runDir);
        assertSameRun(runDir, whole[runtime]);
        assert.deepEqual(readdirSync(dir), [RUN]);
        assert.deepEqual(namesIn(runDir).filter((name) => name.startsWith(".")), [], "nothing half written");
        rmSync(dir, { recursive: true });
        runs++;
      }
      tellRow(
        `SIGKILL ${when}, in Node and in Deno, then the same command: bit-equal to a run left alone, no row of ` +
          "metrics.jsonl or of the samples lost or doubled",
        `${runs} of ${runs} runs after ${kills} kills`,
      );
    });
  }
});
