/** Ranks over MPI: what they compute, and how they end, in each MPI and each runtime of this machine. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Ended, type Flavour, FLAVOURS, type Run, startRanks } from "./mpirun.ts";

const WORKER = "test/cluster/mpi_worker.ts";
/** Within which all ranks are over once one has failed. */
const OVER_S = 30;

const [OPEN_MPI_NODE, OPEN_MPI_DENO, MPICH_NODE, MPICH_DENO] = FLAVOURS;

const run = (
  flavour: Flavour,
  ranks: number,
  task: string,
  env: Record<string, string> = {},
): Promise<Ended> => startRanks(flavour, ranks, [WORKER, task], { env }).ended;

function assertDone({ code, stdout, stderr }: Ended, ranks: number): void {
  assert.equal(code, 0, stderr);
  for (let rank = 0; rank < ranks; rank++) {
    assert.match(stdout, new RegExp(`rank ${rank} of ${ranks} is done`));
  }
}

function assertFailed({ code, stdout, stderr, seconds }: Ended, reason: RegExp): void {
  assert.notEqual(code, 0, `${stdout}${stderr}`);
  assert.match(stderr, reason);
  assert.doesNotMatch(stdout, /is done/);
  assert.ok(seconds < OVER_S, `it took ${seconds} s`);
}

describe("collectives over MPI have the bits of ranks in one process", () => {
  const CASES: [Flavour, number][] = [[OPEN_MPI_NODE, 3], [OPEN_MPI_DENO, 2], [MPICH_NODE, 2], [
    MPICH_DENO,
    4,
  ]];
  for (const [flavour, ranks] of CASES) {
    it(`${flavour.name}: arrays and tensors of any length, ${ranks} ranks`, async () => {
      assertDone(await run(flavour, ranks, "collectives"), ranks);
    });
  }

  it("a sum of shares sends what the other ranks' shares take, by bfloat16 half of it", async () => {
    const { stdout } = await run(OPEN_MPI_NODE, 2, "bytes");
    // Of 2 million values the other rank's million; 64 bytes say what is asked for.
    assert.match(stdout, /bytes 4000064 2000064/);
  });
});

describe("a run of several ranks ends in order", () => {
  for (const [flavour, times] of [[OPEN_MPI_NODE, 10], [MPICH_NODE, 5]] as const) {
    it(`${times} times in a row, ${flavour.name}: no crash at the start or the exit`, async () => {
      for (let i = 0; i < times; i++) assertDone(await run(flavour, 2, "short"), 2);
    });
  }

  for (const flavour of [OPEN_MPI_NODE, MPICH_NODE]) {
    it(`${flavour.name}: WebAssembly still traps, and libc's code is as it was`, async () => {
      assertDone(await run(flavour, 2, "trap"), 2);
      assertDone(await run(flavour, 2, "code"), 2);
    });
  }

  it("one rank of mpirun is a process alone, which needs no MPI library", async () => {
    assertDone(await run(OPEN_MPI_NODE, 1, "short", { MPI_LIB: "no_such_library.so" }), 1);
  });
});

/** Waits until every rank has said its process's number. */
async function pidsOf(started: Run, ranks: number): Promise<number[]> {
  for (let i = 0; i < 600; i++) {
    const pids = [...started.output().matchAll(/^pid (\d+) (\d+)$/gm)].map(([, rank, pid]) =>
      [rank, pid].map(Number)
    );
    if (pids.length === ranks) return pids.sort(([a], [b]) => a - b).map(([, pid]) => pid);
    await sleep(100);
  }
  throw new Error(`The ranks do not come up: ${started.output()}`);
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

for (const flavour of FLAVOURS) {
  describe(`all ranks end when one does, ${flavour.name}`, () => {
    it("that throws where nobody catches, while the others and it wait in a collective", async () => {
      assertFailed(await run(flavour, 3, "throws"), /Rank 1 fails: Error: thrown outside of any promise/);
    });

    it("that is killed, or Ctrl-C reaches the launcher", async () => {
      for (const end of ["kill", "interrupt"]) {
        const started = startRanks(flavour, 3, [WORKER, "wait"]);
        const pids = await pidsOf(started, 3);
        const began = performance.now();
        if (end === "kill") process.kill(pids[1], "SIGKILL");
        else process.kill(-started.child.pid!, "SIGINT");
        const { code } = await started.ended;
        assert.notEqual(code, 0);
        assert.ok(performance.now() - began < OVER_S * 1000);
        assert.deepEqual(pids.filter(isAlive), []);
      }
    });
  });
}

describe("ranks that do not agree", () => {
  const [one, other] = [OPEN_MPI_NODE, MPICH_DENO];

  it("one that exits early ends all", async () => {
    for (const flavour of [one, other]) {
      assertFailed(await run(flavour, 3, "exits"), /Rank 1 ends without the others \(exit code 0\)/);
    }
  });

  it("one that leaves tells the others why, and each ends by itself", async () => {
    for (const flavour of [one, other]) {
      const ended = await run(flavour, 3, "leaves");
      assertFailed(ended, /rank 1: the scorer is gone/);
      for (const rank of [0, 2]) {
        assert.match(
          ended.stderr,
          new RegExp(`rank ${rank}: Rank 1 has left the run, .*: the scorer is gone`),
        );
      }
    }
  });

  it("different collectives are an error on all of them", async () => {
    for (const flavour of [one, other]) {
      const ended = await run(flavour, 3, "mismatch");
      for (const rank of [0, 1, 2]) {
        assertFailed(
          ended,
          new RegExp(
            `rank ${rank}: The ranks have come apart: .* rank 0 calls allReduceSum .* rank 1 calls allGather`,
          ),
        );
      }
    }
  });

  it("settings that differ are an error on all of them, with the line", async () => {
    const ended = await run(one, 3, "differs");
    for (const rank of [0, 1, 2]) {
      assertFailed(
        ended,
        new RegExp(`rank ${rank}: The ranks differ in the settings: rank 0 has "seed: 1", rank 1 "seed: 2"`),
      );
    }
  });

  it("one that waits longer than it may ends all, and says in what", async () => {
    const ended = await run(one, 2, "wait", { GRPO_WEBGPU_MPI_TIMEOUT_S: "3" });
    assertFailed(ended, /Rank 0 of 2 has waited 3 s in barrier: .* set GRPO_WEBGPU_MPI_TIMEOUT_S/);
  });
});

describe("a library that does not suit", () => {
  it("of another vendor than the launcher is refused", async () => {
    assertFailed(
      await run(OPEN_MPI_NODE, 2, "short", { MPI_LIB: "libmpich.so.12" }),
      /started by Open MPI's mpirun, and the MPI library libmpich.so.12 is MPICH .*set MPI_LIB to Open MPI's/,
    );
    assertFailed(
      await run(MPICH_NODE, 2, "short", { MPI_LIB: "libmpi.so.40" }),
      /started by MPICH's mpirun, and the MPI library libmpi.so.40 is Open MPI .*or set MPI_LIB to MPICH's library/,
    );
  });

  it("or is none is refused with what to install", async () => {
    assertFailed(
      await run(OPEN_MPI_NODE, 2, "short", { MPI_LIB: "no_such_library.so" }),
      /install Open MPI or MPICH/,
    );
  });

  it("a world of one where srun started two names srun's option, for each MPI", async () => {
    const alone: Flavour = { ...OPEN_MPI_NODE, launch: ["env", "SLURM_PROCID=0", "SLURM_STEP_NUM_TASKS=2"] };
    // `env` takes no number of ranks.
    const start = (library: string) =>
      startRanks(
        { ...alone, launch: [...alone.launch, `MPI_LIB=${library}`, "sh", "-c", 'shift 2; exec "$@"', "sh"] },
        1,
        [
          WORKER,
          "short",
        ],
      ).ended;
    assertFailed(
      await start("libmpi.so.40"),
      /srun started 2 ranks, and MPI .* finds a world of 1: .*`srun --mpi=pmix`/,
    );
    assertFailed(await start("libmpich.so.12"), /finds a world of 1: .*`srun --mpi=pmi2`/);
  });
});
