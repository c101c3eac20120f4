/** `train -- --num_processes N`: ranks started here by the mpirun that is there, their signals, exit codes and mistakes. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import {
  checkpointSteps,
  finalFiles,
  inScratchFolder,
  metricRows,
  ROOT,
  RUN,
  trainArgs,
} from "../e2e/program.ts";

const HANGS_MS = 240_000;
const START = join(ROOT, "scripts/start.mjs");
const DOORS = {
  node: [process.execPath, START],
  deno: [join(ROOT, "node_modules/.bin/deno"), "run", "-A", "--unstable-webgpu", START],
};
type Door = keyof typeof DOORS;

interface Launched {
  signal(name: NodeJS.Signals): void;
  /** Resolves once the output holds the pattern; rejects when the program ends before. */
  says(pattern: RegExp): Promise<void>;
  finished: Promise<{ code: number | null; output: string }>;
}

function launch(
  args: readonly string[],
  { door = "node" as Door, env = {} as NodeJS.ProcessEnv } = {},
): Launched {
  const [command, ...words] = [...DOORS[door], ...args];
  const child = spawn(command, words, {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  let output = "";
  const waiting: (() => void)[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
      waiting.forEach((look) => look());
    });
  }
  const finished = new Promise<{ code: number | null; output: string }>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGTERM");
      reject(new Error(`The ranks hung for ${HANGS_MS / 1000} s. Their output:\n${output}`));
    }, HANGS_MS);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
  const says = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const look = () => pattern.test(output) && resolve();
      waiting.push(look);
      look();
      finished.then(() => reject(new Error(`Ended before it said ${pattern}:\n${output}`)), reject);
    });
  return { signal: (name) => process.kill(child.pid!, name), says, finished };
}

const countOf = (pattern: RegExp, text: string) => [...text.matchAll(new RegExp(pattern, "gm"))].length;
const ranks = (count: number, outputDir: string, settings: Record<string, unknown> = {}) => [
  ...trainArgs(outputDir, settings),
  "--num_processes",
  String(count),
];

/** A folder with programs of these names alone, MPICH's mpirun among them where it is asked for. */
function withMpich(folder: string): NodeJS.ProcessEnv {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "mpirun"), '#!/bin/sh\nexec mpirun.mpich "$@"\n');
  chmodSync(join(bin, "mpirun"), 0o755);
  return { PATH: `${bin}:${process.env.PATH}` };
}

describe("--num_processes 2 trains with two ranks", () => {
  it("by accelerate's and DeepSpeed's files, which the command line outvotes, in Node and in Deno", () =>
    inScratchFolder(async (folder) => {
      const run = async (door: Door) => {
        const args = trainArgs(join(folder, door), {
          max_steps: 2,
          per_device_train_batch_size: 1,
          gradient_accumulation_steps: 4,
        });
        const files = [
          "--config_file",
          "configs/accelerate_zero2.yaml",
          "--deepspeed_config_file",
          "configs/ds_zero2.json",
        ];
        const { code, output } = await launch([...args, ...files, "--num_processes", "2"], { door }).finished;
        assert.equal(code, 0, output);
        assert.equal(countOf(/^batch .* x 2 devices = /, output), 1, output);
        assert.equal(countOf(/^step 2\/2 /, output), 1, output);
        assert.match(output, /^Note: configs\/ds_zero2.json: .*wall_clock_breakdown without meaning/m);
        assert.match(output, /^Note: 2 of 2 ranks compute on their machine's CPU, which they share$/m);
        return metricRows(join(folder, door, RUN)).length;
      };
      assert.equal(await run("node"), 2);
      assert.equal(await run("deno"), 2);
    }));

  it("by MPICH's mpirun where that is the first in PATH", () =>
    inScratchFolder(async (folder) => {
      const args = ranks(2, join(folder, "runs"), { max_steps: 1 });
      const { code, output } = await launch(args, { env: withMpich(folder) }).finished;
      assert.equal(code, 0, output);
      assert.match(output, /^batch .* x 2 devices = /m);
    }));
});

describe("signals reach every rank once", () => {
  for (const [signal, code] of [["SIGUSR1", 85], ["SIGTERM", 143]] as const) {
    it(`${signal} has them save after the same step and end with ${code}, and the same command goes on`, () =>
      inScratchFolder(async (folder) => {
        const settings = { save_steps: 0, lr_scheduler_type: "constant" };
        const program = launch(ranks(2, folder, { ...settings, max_steps: 1000 }));
        await program.says(/^step +1\/1000 /m);
        program.signal(signal);
        const stopped = await program.finished;
        assert.equal(stopped.code, code, stopped.output);
        assert.equal(
          countOf(new RegExp(`^${signal}: finishing this step`), stopped.output),
          1,
          stopped.output,
        );
        const done = Number(/^Stopped after step (\d+);/m.exec(stopped.output)![1]);
        assert.deepEqual([checkpointSteps(join(folder, RUN)), finalFiles(join(folder, RUN))], [[done], []]);
        const { code: rest, output } = await launch(ranks(2, folder, { ...settings, max_steps: done + 1 }))
          .finished;
        assert.equal(rest, 0, output);
        assert.match(output, new RegExp(`^steps +${done + 1} to ${done + 1} \\(resumed\\)$`, "m"));
      }));
  }

  it("before the first step it ends them at once, and nothing is written", () =>
    inScratchFolder(async (folder) => {
      const program = launch(ranks(2, join(folder, "runs")));
      await program.says(/^Note: 2 of 2 ranks/m);
      program.signal("SIGTERM");
      const { code, output } = await program.finished;
      assert.equal(code, 143, output);
      assert.ok(!existsSync(join(folder, "runs")), output);
    }));
});

/** Open MPI's own, as whoever starts ranks by hand calls it. */
async function mpirun(words: readonly string[]): Promise<{ code: unknown; output: string }> {
  const root = process.getuid?.() === 0 ? ["--allow-run-as-root"] : [];
  const options = ["--quiet", ...root, "--map-by", "slot:OVERSUBSCRIBE"];
  const child = spawn("mpirun", [...options, ...words], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => output += text);
  }
  return { code: await new Promise((resolve) => child.on("close", resolve)), output };
}

describe("what is wrong is said once, before any rank is started or by the first", () => {
  const fails = async (args: string[], says: RegExp, env: NodeJS.ProcessEnv = {}) => {
    const { code, output } = await launch(args, { env }).finished;
    assert.equal(code, 1, output);
    assert.equal(countOf(says, output), 1, output);
    return output;
  };

  it("of a batch that ranks do not divide, with the nearest that they do", () =>
    inScratchFolder(async (folder) => {
      const odd = { num_generations: 5, per_device_train_batch_size: 1, gradient_accumulation_steps: 4 };
      await fails(
        ranks(3, folder, odd),
        /need a multiple of num_generations = 5; set gradient_accumulation_steps to 5 or/,
      );
    }));

  it("of numbers that are none", async () => {
    for (const number of ["0", "x"]) {
      await fails(
        ["train", "--num_processes", number],
        /'--num_processes <number>' argument '[0x]' is invalid. Need a whole/,
      );
    }
  });

  it("where there is no mpirun, with what to install", () =>
    inScratchFolder(async (folder) => {
      const env = { PATH: join(folder, "empty") };
      await fails(
        ranks(2, folder),
        /required mpirun of Open MPI or MPICH, found none in PATH. Install it \(Debian, Ubuntu: apt/,
        env,
      );
    }));

  it("of a model that is not there, which every rank misses", () =>
    inScratchFolder(async (folder) => {
      copyFileSync(join(ROOT, "configs/quickstart.yaml"), join(folder, "run.yaml"));
      await fails(ranks(2, folder, { model_name: join(folder, "none") }), /^Cannot load a model from/);
    }));

  it("of a world of another size than --num_processes", () =>
    inScratchFolder(async (folder) => {
      const { code, output } = await mpirun(["-np", "2", ...DOORS.node, ...ranks(4, folder)]);
      assert.equal(code, 1, output);
      assert.equal(
        countOf(/Open MPI's mpirun started 2 ranks, and --num_processes 4 asks for 4/, output),
        1,
        output,
      );
    }));

  it("of ranks that were given other settings", () =>
    inScratchFolder(async (folder) => {
      const one = (settings: Record<string, unknown>) => [
        ...["-np", "1", ...DOORS.node, ...trainArgs(folder, settings)],
      ];
      const other = (settings: Record<string, unknown>) => mpirun([...one({}), ":", ...one(settings)]);
      const seeds = await other({ seed: 7 });
      assert.equal(seeds.code, 1, seeds.output);
      assert.match(
        seeds.output,
        /^The ranks differ in their settings: rank 0 has " "seed": 42,", rank 1 " "seed": 7,"/m,
      );
      assert.match(seeds.output, /rank 1 of 2 differ from rank 0/);
      assert.deepEqual(finalFiles(folder), []);
    }));
});
