import assert from "node:assert/strict";
import { chmod, writeFile } from "node:fs/promises";
import * as os from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { memoryBudget } from "../../src/assembly/memory.ts";
import { lengthsOf } from "../../src/assembly/prompts.ts";
import { memoryLines } from "../../src/cli/terminal/banner.ts";
import type { Prompt } from "../../src/train/prompts.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { leftOut } from "../left_out.ts";

const UNKNOWN = { gpu_memory_gib: null };
const GPU = { isSoftware: false };
const skip = process.platform === "win32" &&
  leftOut("three tests of the GPU's budget", "a shell script stands in for nvidia-smi");

/** The budget where `nvidia-smi` is this shell script; null for none on the PATH. */
async function budgetWith(script: string | null) {
  const path = process.env.PATH;
  let budget: Awaited<ReturnType<typeof memoryBudget>> = null;
  await withScratchFolder(async (dir) => {
    if (script !== null) {
      await writeFile(join(dir, "nvidia-smi"), `#!/bin/sh\n${script}\n`);
      await chmod(join(dir, "nvidia-smi"), 0o755);
    }
    process.env.PATH = dir;
    try {
      budget = await memoryBudget(UNKNOWN, GPU);
    } finally {
      process.env.PATH = path;
    }
  });
  return budget as Awaited<ReturnType<typeof memoryBudget>>;
}

const answers = (text: string) => budgetWith(`printf '${text}'`);

test("the GPU's budget is its free memory less 5 % of all; of several GPUs the least", { skip }, async () => {
  const MIB = 2 ** 20;
  const source = "nvidia-smi, less 5 % for its driver";
  assert.deepEqual(await answers("1024, 2000\\n"), { bytes: 924 * MIB, source });
  assert.equal((await answers("24000, 24000\\n8000, 24000\\n16000, 16000\\n"))?.bytes, 6800 * MIB);
  assert.equal((await answers("8000, 8000\\n24000, 24000\\n"))?.bytes, 7600 * MIB);
  assert.equal((await answers("  24000 ,24000\\n 23000,23000 \\n"))?.bytes, 21850 * MIB);
  assert.equal((await answers("10, 24000\\n"))?.bytes, 0);
});

test("nvidia-smi is asked for free memory and all of it, as bare numbers", { skip }, async () => {
  const asked =
    '[ "$*" = "--query-gpu=memory.free,memory.total --format=csv,noheader,nounits" ] && echo 7, 20 || echo "$*"';
  assert.equal((await budgetWith(asked))?.bytes, 6 * 2 ** 20);
});

test(
  "an answer that is no list of numbers, a failure, or no nvidia-smi is no budget at all",
  { skip },
  async () => {
    for (
      const garbage of [
        "[N/A]\\n",
        "1024\\n",
        "1024, 2000\\n[N/A], 2000\\n",
        "No devices were found\\n",
        "24 GiB, 24 GiB\\n",
        "",
        "\\n",
        "-5, 2000\\n",
      ]
    ) {
      assert.equal(await answers(garbage), null, garbage);
    }
    assert.equal(await budgetWith("echo 1024, 2000; exit 9"), null);
    assert.equal(await budgetWith(null), null);
  },
);

test("gpu_memory_gib is taken as it is, in GiB, before anything else is asked", async () => {
  const configured = { bytes: 1.5 * 2 ** 30, source: "gpu_memory_gib" };
  for (const isSoftware of [true, false]) {
    assert.deepEqual(await memoryBudget({ gpu_memory_gib: 1.5 }, { isSoftware }), configured);
  }
});

test("a software GPU has what the system has free", async () => {
  const budget = await memoryBudget(UNKNOWN, { isSoftware: true });
  assert.equal(budget?.source, "free system memory");
  assert.ok(budget.bytes > 2 ** 20 && budget.bytes <= os.totalmem(), `${budget.bytes} bytes`);
});

test("lengthsOf() is the longest of each list; without evaluation there is nothing to plan for it", () => {
  const prompts = [3, 9, 4].map((length) => ({ ids: Array<number>(length).fill(0) }) as unknown as Prompt);
  assert.deepEqual(lengthsOf({ prompts, evalPrompts: prompts.slice(2) }), {
    longestPrompt: 9,
    longestEvalPrompt: 4,
    evalPrompts: 1,
  });
  assert.deepEqual(lengthsOf({ prompts: [], evalPrompts: null }), {
    longestPrompt: 1,
    longestEvalPrompt: 1,
    evalPrompts: 0,
  });
});

test("memoryLines() says what is planned of what, how the batch is split, and the parts", () => {
  const GIB = 2 ** 30;
  const parts = [{ name: "weights", bytes: GIB }, { name: "generation", bytes: 2 * GIB }];
  const plan = { rowsPerPass: 2, recomputesLayers: false, parts, peakBytes: 3 * GIB, kernels: [] };
  const budget = { bytes: 4 * GIB, source: "nvidia-smi" };
  assert.deepEqual(memoryLines({ plan, budget }, 8), [
    "planned 3 GiB of 4 GiB (nvidia-smi), with 2 of 8 completions trained on at a time",
    "weights 1 GiB, generation 2 GiB",
  ]);
  assert.equal(memoryLines({ plan, budget: null }, 2)[0], "planned 3 GiB");
  assert.equal(
    memoryLines({ plan, budget: null }, 1)[0],
    "planned 3 GiB, with 2 completions, of several passes, trained on at a time",
  );
  const again = memoryLines({ plan: { ...plan, recomputesLayers: true }, budget: null }, 2)[0];
  assert.equal(again, "planned 3 GiB, layers run again in backward");
});
