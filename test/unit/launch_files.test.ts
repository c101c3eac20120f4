/** accelerate's and DeepSpeed's files, read into settings; what the launch options say together. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readLaunch } from "../../src/cli/launch_options.ts";
import { readAccelerate } from "../../src/config/accelerate.ts";
import { readDeepspeed } from "../../src/config/deepspeed.ts";
import { ConfigError, loadConfig } from "../../src/config/load.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";

const shipped = (name: string) => readFileSync(join(ROOT, "configs", name), "utf8");
const accelerate = (text: string) => readAccelerate({ text, fileName: "accelerate.yaml" });

/** The settings of a file of ours under a DeepSpeed file. */
const under = (values: unknown, settings = "eval_jsonl: null", worldSize = 1) =>
  loadConfig({ text: settings, fileName: "run.yaml" }, {
    worldSize,
    deepspeed: { text: typeof values === "string" ? values : JSON.stringify(values), fileName: "ds.json" },
  });

function problemsOf(body: () => unknown): readonly string[] {
  try {
    body();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe("a DeepSpeed file", () => {
  it("of stage 2 as shipped becomes the settings of ZeRO and bf16 weights, and says what does nothing", () => {
    const text = shipped("ds_zero2.json");
    const config = under(text, "per_device_train_batch_size: 1\nmax_grad_norm: 1.0");
    assert.deepEqual(
      [
        config.zero_stage,
        config.reduce_bucket_size,
        config.allgather_bucket_size,
        config.overlap_comm,
        config.dtype,
      ],
      [2, 5e8, 5e8, true, "bfloat16"],
    );
    const { notices } = readDeepspeed({ text, fileName: "ds.json" }, []);
    assert.match(notices.join("\n"), /contiguous_gradients without meaning/);
    assert.match(notices.join("\n"), /steps_per_print, wall_clock_breakdown without meaning/);
  });

  it("of stage 0 shares out nothing; stage 1, whose weights are those of stage 2, counts as that", () => {
    const stageOf = (stage: number) => under({ zero_optimization: { stage } }).zero_stage;
    assert.deepEqual([0, 1, 2].map(stageOf), [0, 2, 2]);
  });

  it("of stage 3, or one that offloads, is refused with what to do instead", () => {
    const [stage3] = problemsOf(() => under({ zero_optimization: { stage: 3 } }));
    assert.match(stage3, /stage must be 0, 1 or 2, got 3: .*instead set use_peft \(LoRA\), start more ranks/);
    for (const key of ["offload_optimizer", "offload_param"]) {
      const [problem] = problemsOf(() =>
        under({ zero_optimization: { stage: 2, [key]: { device: "cpu" } } })
      );
      assert.match(problem, new RegExp(`${key} is not offered; .*use_peft`));
      assert.deepEqual(problemsOf(() => under({ zero_optimization: { [key]: { device: "none" } } })), []);
    }
  });

  it("must agree with the settings as transformers has it, or be auto", () => {
    const settings = "gradient_accumulation_steps: 15\nmax_grad_norm: 0.5";
    const agreeing = {
      gradient_clipping: 0.5,
      gradient_accumulation_steps: 15,
      train_micro_batch_size_per_gpu: 1,
      train_batch_size: 60,
    };
    assert.deepEqual(problemsOf(() => under(agreeing, settings, 4)), []);
    for (const [key, value] of Object.entries(agreeing)) {
      const other = { ...agreeing, [key]: value + 1 };
      const [problem, ...more] = problemsOf(() => under(other, settings, 4));
      assert.match(
        problem,
        new RegExp(`^ds.json: ${key} must agree with .* = ${value}, got ${value + 1}; write "auto"`),
      );
      assert.deepEqual(more, []);
      assert.deepEqual(problemsOf(() => under({ ...other, [key]: "auto" }, settings, 4)), []);
    }
  });

  it("does not outvote a setting that says otherwise", () => {
    const bf16 = { bf16: { enabled: true } };
    assert.match(
      problemsOf(() => under(bf16, "dtype: float32"))[0],
      /^run.yaml:1:1: dtype = "float32" must agree with ds.json, bf16.enabled, which asks for "bfloat16"/,
    );
    assert.equal(under(bf16, "dtype: bfloat16").dtype, "bfloat16");
    assert.match(
      problemsOf(() => under({ zero_optimization: { stage: 2 } }, "zero_stage: 0"))[0],
      /must agree/,
    );
    assert.equal(under({ zero_optimization: { stage: 2 } }, "zero_stage: auto").zero_stage, 2);
  });

  it("may name AdamW with the settings' own numbers, and nothing that trains another way", () => {
    const adamw = {
      type: "AdamW",
      params: { lr: "auto", betas: [0.9, 0.999], eps: 1e-8, weight_decay: "auto" },
    };
    assert.deepEqual(problemsOf(() => under({ optimizer: adamw })), []);
    assert.match(
      problemsOf(() => under({ optimizer: { type: "Lamb" } }))[0],
      /optimizer.type must be "AdamW", got "Lamb"/,
    );
    assert.match(
      problemsOf(() => under({ scheduler: { type: "WarmupLR" } }))[0],
      /scheduler is not offered; .*lr_scheduler_type/,
    );
    assert.match(
      problemsOf(() => under({ fp16: { enabled: true } }))[0],
      /fp16.enabled is not offered.*enable bf16/,
    );
    assert.match(
      problemsOf(() => under({ communication_data_type: "fp16" }))[0],
      /must be "fp32", "bf16" or null/,
    );
    assert.equal(under({ communication_data_type: "bf16" }).communication_dtype, "bfloat16");
  });

  it("with an unknown key, or of broken JSON, names it", () => {
    assert.match(
      problemsOf(() => under({ zero_optimization: { reduce_bucket_sise: 1 } }))[0],
      /unknown key "zero_optimization.reduce_bucket_sise"; did you mean "zero_optimization.reduce_bucket_size"\?/,
    );
    assert.match(problemsOf(() => under('{"bf16": '))[0], /^ds.json: not valid JSON/);
    assert.match(problemsOf(() => under("[]"))[0], /^ds.json: required a JSON object, got a list/);
  });
});

describe("accelerate's file", () => {
  it("as shipped asks for four processes on all GPUs, and does not mention what is off", () => {
    const settings = accelerate(shipped("accelerate_zero2.yaml"));
    assert.deepEqual(settings, {
      numProcesses: 4,
      numMachines: 1,
      gpuIds: null,
      useCpu: false,
      deepspeed: null,
      notices: [],
    });
  });

  it("names what has no meaning here, with the reason", () => {
    const { notices, gpuIds, useCpu } = accelerate(
      "gpu_ids: 0,2\nuse_cpu: true\nmain_process_port: 29500\nmixed_precision: bf16\nenable_cpu_affinity: true",
    );
    assert.deepEqual([gpuIds, useCpu], [[0, 2], true]);
    assert.match(notices.join("\n"), /main_process_port without meaning: MPI joins the processes/);
    assert.match(notices.join("\n"), /enable_cpu_affinity without meaning: there is no PyTorch/);
    assert.match(notices.join("\n"), /mixed_precision "bf16" without meaning: .*dtype bfloat16/);
  });

  it("refuses what would be another run, each with its line", () => {
    const problems = problemsOf(() =>
      accelerate(
        "num_proceses: 4\ndistributed_type: FSDP\nnum_machines: two\nmachine_rank: 1\ngpu_ids: first\n" +
          "fsdp_config: {fsdp_offload_params: true}",
      )
    );
    assert.equal(problems.length, 6);
    for (
      const [line, says] of [
        [1, /unknown key "num_proceses"; did you mean "num_processes"\?/],
        [2, /distributed_type must be .*got "FSDP"; set distributed_type to DEEPSPEED with zero_stage 2/],
        [3, /num_machines must be a whole number from 1/],
        [4, /machine_rank must be 0, got 1; .*slurm\/run.sh/],
        [5, /gpu_ids must be "all" or numbers/],
        [6, /fsdp_config is not offered/],
      ] as const
    ) {
      assert.ok(
        problems.some((text) => text.startsWith(`accelerate.yaml:${line}:1: `) && says.test(text)),
        String(says),
      );
    }
    assert.match(
      problemsOf(() => accelerate("distributed_type: NO\nnum_processes: 2"))[0],
      /NO is one process/,
    );
  });

  it("may hold DeepSpeed's settings itself, or name their file, and not both", () => {
    const { deepspeed } = accelerate(
      "deepspeed_config:\n  zero_stage: 3\n  gradient_clipping: 1.0\n  offload_optimizer_device: none\n  zero3_init_flag: false",
    );
    assert.ok(deepspeed && "text" in deepspeed);
    const [problem] = problemsOf(() => loadConfig({ text: "seed: 1", fileName: "run.yaml" }, { deepspeed }));
    assert.match(
      problem,
      /^accelerate.yaml, deepspeed_config: zero_optimization.stage must be 0, 1 or 2, got 3/,
    );
    assert.deepEqual(accelerate("deepspeed_config: {deepspeed_config_file: ds.json}").deepspeed, {
      path: "ds.json",
    });
    const [both] = problemsOf(() =>
      accelerate("deepspeed_config: {deepspeed_config_file: ds.json, zero_stage: 2}")
    );
    assert.match(both, /zero_stage belong into 'ds.json'/);
    assert.match(
      problemsOf(() => accelerate("deepspeed_config: {zero_stge: 2}"))[0],
      /did you mean "zero_stage"\?/,
    );
  });
});

describe("the number of ranks", () => {
  const ompi = (rank: number, size: number) => ({
    OMPI_COMM_WORLD_RANK: String(rank),
    OMPI_COMM_WORLD_SIZE: String(size),
    OMPI_COMM_WORLD_LOCAL_RANK: "1",
    OMPI_COMMAND: "node",
  });

  it("is the option's, else accelerate's file's, else that of the world, else 1", () =>
    withScratchFolder(async (folder) => {
      const config_file = join(folder, "accelerate.yaml");
      await writeFile(config_file, "num_processes: 4\n");
      const sizeOf = async (options: Parameters<typeof readLaunch>[0], env = {}) =>
        (await readLaunch(options, env)).size;
      assert.equal(await sizeOf({}), 1);
      assert.equal(await sizeOf({ config_file }), 4);
      assert.equal(await sizeOf({ config_file, num_processes: 2 }), 2);
      assert.equal(await sizeOf({}, ompi(3, 8)), 8);
      const { world } = await readLaunch({ num_processes: 8 }, ompi(3, 8));
      assert.deepEqual(world, { rank: 3, size: 8, localRank: 1, launcher: "Open MPI's mpirun" });
    }));

  it("must be that of the world that this process is in", async () => {
    const srun = { SLURM_PROCID: "1", SLURM_STEP_NUM_TASKS: "2", SLURM_LOCALID: "1" };
    await assert.rejects(
      readLaunch({ num_processes: 4 }, srun),
      /srun started 2 ranks, and --num_processes 4 asks for 4; give both the same number/,
    );
    assert.equal(
      (await readLaunch({ num_processes: 4 }, { ...srun, SLURM_STEP_NUM_TASKS: "1" })).world,
      null,
    );
  });

  it("is at most that of the GPUs that are named, and of one machine", async () => {
    await assert.rejects(
      readLaunch({ num_processes: 4, gpu_ids: "0,2" }, {}),
      /4 ranks on the 2 GPUs of gpu_ids 0,2/,
    );
    await assert.rejects(readLaunch({ gpu_ids: "0,0" }, {}), /must be "all" or numbers/);
    await withScratchFolder(async (folder) => {
      const config_file = join(folder, "accelerate.yaml");
      await writeFile(config_file, "num_machines: 2\nnum_processes: 8\n");
      await assert.rejects(readLaunch({ config_file }, {}), /ranks on 2 machines .*slurm\/run.sh/);
      assert.equal((await readLaunch({ config_file }, ompi(0, 8))).size, 8);
    });
  });
});
