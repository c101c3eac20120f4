/** The main job as a user runs it. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { commandLine } from "../../src/config/command_line.ts";
import { contentsOf } from "./folder_contents.ts";
import { inScratchFolder, metricRows, RUN, runProgram, succeed, trainArgs } from "./program.ts";

const weightsOf = (runDir: string) => readFileSync(join(runDir, "model.safetensors"));
const completionsOf = (runDir: string, step: number) =>
  readFileSync(join(runDir, "samples", `train_${step}.jsonl`), "utf8");

describe("train", () => {
  it("an adapter is trained on from its folder, only as what it is", async () => {
    await inScratchFolder(async (folder) => {
      const settings = { use_peft: true, lora_r: 3, max_steps: 1 };
      const first = await runProgram(trainArgs(join(folder, "first"), settings));
      assert.equal(first.code, 0, first.output);
      assert.ok(!existsSync(join(folder, "first", RUN, "merged")), "only where lora_merge asks for it");
      const train = (change: Record<string, unknown>) => {
        const model_name = join(folder, "first", RUN);
        return runProgram(trainArgs(join(folder, "second"), { ...settings, model_name, ...change }));
      };
      assert.match((await train({ use_peft: false })).output, /Cannot train all weights from .*use_peft/);
      assert.match((await train({ lora_r: 16 })).output, /lora_r: adapter 3, settings 16/);
      const second = await train({});
      assert.equal(second.code, 0, second.output);
      const config = readFileSync(join(folder, "second", RUN, "adapter_config.json"), "utf8");
      assert.equal(JSON.parse(config).base_model_name_or_path, "models/quickstart/policy");
      assert.equal(
        metricRows(join(folder, "second", RUN))[0].kl,
        0,
        "the reference is the adapter that it began with",
      );
    });
  });

  it("a finished run has nothing left to do and is left as it is; resume: false starts over, keeps the old folder aside, and inherits none of its checkpoints", async () => {
    await inScratchFolder(async (folder) => {
      const settings = { max_steps: 2 };
      await succeed(trainArgs(folder, settings));
      const finished = contentsOf(join(folder, RUN), ["runs"]);
      const output = await succeed(trainArgs(folder, settings));
      assert.match(
        output,
        /^Nothing left to do: .*unified is complete at step 2\. Start over with --set resume=false/m,
      );
      assert.deepEqual(contentsOf(join(folder, RUN), ["runs"]), finished);
      const again = await runProgram(trainArgs(folder, { max_steps: 1, resume: false }));
      assert.equal(again.code, 0, again.output);
      assert.match(again.output, /Starting over; the run before is kept as .*unified\.old-1/);
      assert.deepEqual(metricRows(join(folder, RUN)).map(({ step }) => step), [1]);
      assert.ok(!existsSync(join(folder, RUN, "checkpoint-2")), "not in the new run");
      assert.ok(existsSync(join(folder, `${RUN}.old-1`, "checkpoint-2")), "kept with the old one");
    });
  });

  it("the size of the micro-batch changes neither completions nor trained weights", async () => {
    await inScratchFolder(async (folder) => {
      const run = async (name: string, size: number) => {
        const settings = {
          max_steps: 2,
          per_device_train_batch_size: size,
          gradient_accumulation_steps: 8 / size,
        };
        const { code, output } = await runProgram(trainArgs(join(folder, name), settings));
        assert.equal(code, 0, output);
        return join(folder, name, RUN);
      };
      const [small, large] = [await run("small", 1), await run("large", 8)];
      for (const step of [1, 2]) assert.equal(completionsOf(small, step), completionsOf(large, step));
      assert.deepEqual(weightsOf(small), weightsOf(large));
    });
  });

  it("where memory is short layers run again, or fewer completions are trained on at a time, with the same weights; where there is none the run is refused", async () => {
    await inScratchFolder(async (folder) => {
      const run = (name: string, gibibytes: number | null, checkpointing: boolean | "auto" = "auto") =>
        runProgram(
          trainArgs(join(folder, name), {
            max_steps: 1,
            per_device_train_batch_size: 32,
            gradient_accumulation_steps: 1,
            gpu_memory_gib: gibibytes,
            gradient_checkpointing: checkpointing,
          }),
        );
      const ample = await run("ample", null);
      assert.equal(ample.code, 0, ample.output);
      const planned = Number(ample.output.match(/planned ([\d.]+) MiB/)![1]);
      const taken = ({ output }: { output: string }) => Number(output.match(/([\d.]+) MiB at the most/)![1]);
      for (
        const [name, checkpointing, plan] of [
          ["again", "auto", /, layers run again in backward/],
          ["fewer", false, /with (16|8|4|2|1) of 32 completions trained on at a time/],
        ] as const
      ) {
        const short = await run(name, (planned - 1) / 1024, checkpointing);
        assert.equal(short.code, 0, short.output);
        assert.match(short.output, plan);
        assert.ok(taken(short) < taken(ample), `${taken(short)} MiB, ${taken(ample)} where there is enough`);
        assert.deepEqual(weightsOf(join(folder, name, RUN)), weightsOf(join(folder, "ample", RUN)));
      }
      const none = await run("none", 0.001);
      assert.equal(none.code, 1, none.output);
      assert.match(none.output, /needs [\d.]+ MiB of GPU memory .*there are 1 MiB \(gpu_memory_gib\)/);
      assert.ok(!existsSync(join(folder, "none", RUN, "metrics.jsonl")), "nothing was begun");
    });
  });

  it("a sweep over beta leaves one complete run folder for each, and evaluates at the end", async () => {
    await inScratchFolder(async (folder) => {
      const settings = { max_steps: 1, eval_jsonl: "models/quickstart/eval_prompts.jsonl", beta: [0, 0.05] };
      const { code, output } = await runProgram([...trainArgs(folder, settings), "--seed", "7"]);
      assert.equal(code, 0, output);
      const folders = [0, 0.05].map((beta) => join(folder, `beta${beta}_seed7_unified`));
      assert.ok(
        output.endsWith(`Compare these runs: ${commandLine(process.env, "report", ...folders)}\n`),
        output,
      );
      const sha256 = (run: string) =>
        createHash("sha256").update(readFileSync(join(run, "model.safetensors"))).digest("hex");
      assert.deepEqual(
        [...output.matchAll(/^sha256 +(\w+)$/gm)].map(([, hash]) => hash),
        folders.map(sha256),
      );
      assert.match(output, /^eval safe +[\d.]+ -> [\d.]+/m, "in the summary");
      for (const run of ["beta0_seed7_unified", "beta0.05_seed7_unified"]) {
        for (
          const file of [
            "model.safetensors",
            "pytorch_model.bin",
            "config.json",
            "tokenizer.json",
            "metrics.jsonl",
            "report.html",
            "weight_change.json",
            "checkpoint-1",
          ]
        ) {
          assert.ok(existsSync(join(folder, run, file)), `${run}/${file}`);
        }
        const evaluation = metricRows(join(folder, run)).at(-1)!;
        assert.equal(evaluation["eval/total_samples"], 64, "all eval prompts");
      }
      const facts = JSON.parse(readFileSync(join(folders[0], "run_facts.json"), "utf8"));
      assert.ok(facts.command.endsWith(" --seed 7"), facts.command);
      const report = readFileSync(join(folders[0], "report.html"), "utf8");
      assert.ok(report.includes("How far the weights moved") && report.includes(" --seed 7</td>"), "shown");
      const kl = metricRows(join(folder, "beta0_seed7_unified"))[0].kl;
      assert.equal(kl, undefined, "without a reference policy there is no KL to log");
    });
  });

  it("a folder that holds a run with another temperature is refused, naming the key, and left as it is", async () => {
    await inScratchFolder(async (folder) => {
      await succeed(trainArgs(folder, { max_steps: 1 }));
      const before = contentsOf(join(folder, RUN));
      const again = await runProgram(trainArgs(folder, { max_steps: 1, temperature: 0.5 }));
      assert.equal(again.code, 1);
      assert.match(again.output, /Cannot resume .*temperature: checkpoint \S+, now 0\.5/);
      assert.deepEqual(contentsOf(join(folder, RUN)), before);
    });
  });
});

describe("what a user may get wrong is said before anything is loaded", () => {
  const failing: [string, string[], RegExp][] = [
    ["a config that is not there", ["train", "--config", "configs/none.yaml"], /configs\/none\.yaml/],
    ["an unknown key", ["train", "--set", "lerning_rate=1"], /did you mean "?learning_rate/],
    [
      "a batch that is no whole groups",
      ["train", "--set", "num_generations=7"],
      /need a multiple of num_generations = 7/,
    ],
    ["an unknown task", ["trian"], /Unknown task "trian"/],
  ];
  for (const [what, args, message] of failing) {
    it(what, async () => {
      const { code, output } = await runProgram(args);
      assert.equal(code, 1, output);
      assert.match(output, message);
      assert.doesNotMatch(output, /\n\s+at /, "no stack");
    });
  }

  it("--dry-run prints the whole resolved configuration and touches nothing", async () => {
    const { code, output } = await runProgram(["train", "--set", "lambda_lr=0.125", "--dry-run"]);
    assert.equal(code, 0, output);
    assert.match(output, /^lambda_lr: 0\.125$/m);
  });
});
