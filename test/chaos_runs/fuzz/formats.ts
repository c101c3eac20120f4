// Every kind of file that is read, with real ones of it, and the way in which the program reads it.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readDeepspeedFile } from "../../../src/assembly/deepspeed_file.ts";
import { buildReport } from "../../../src/assembly/report.ts";
import { readSettings } from "../../../src/cli/options.ts";
import { readAccelerate } from "../../../src/config/accelerate.ts";
import { formatConfig } from "../../../src/config/describe.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { readPrompts } from "../../../src/io/prompts/prompts.ts";
import { openAppendLog } from "../../../src/io/records/append_log.ts";
import { loadCheckpoint, saveCheckpoint } from "../../../src/io/records/checkpoint.ts";
import { scorerUrlsAt } from "../../../src/scorer/url.ts";
import { contentOf } from "../../unit/checkpoint_content.ts";
import { MODEL_FORMATS } from "./model_formats.ts";
import { fileOf, type Format, json, text } from "./seeds.ts";

async function usePrompts(path: string): Promise<void> {
  const rows = await readPrompts(path, { promptKey: "prompt", onBadRow: () => {} });
  for (const { prompt, columns } of rows) JSON.stringify([prompt, columns]);
  await readPrompts(path, { promptKey: "prompt" });
}

const ROWS = [
  '{"prompt": "What is a \\u00e9?", "id": 1}',
  '{"prompt": [{"role": "user", "content": "hi"}], "tags": ["a", {"b": null}]}',
  "",
  '{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}',
  "\ufeff" + '{"prompt": "b", "big": 12345678901234567890}',
];
const ARRAY = `[\n  ${ROWS.filter((row) => row.startsWith("{")).join(",\n  ")}\n]`;

const SAMPLE = {
  prompt: "p",
  completion: "c",
  reward: 1,
  cost: -1,
  combined: 0.5,
  unsafe: false,
  scores: { a: 1 },
};
const POINTS = { step: 1, from_step: 1, total: 2, rewards: [1, 2], costs: [0, -1] };
const ROLLOUT = {
  ...SAMPLE,
  step: 1,
  index: 0,
  end: "eos",
  length: 2,
  advantage: 0.5,
  prompt_ids: [1],
  completion_ids: [3, 4],
  logprobs: [-0.5, null],
  ref_logprobs: null,
};
const CHANGED = {
  name: "lm_head.weight",
  part: "unembedding",
  layer: null,
  parameters: 4,
  change: 0.5,
  start: 2,
};
const CHANGE = {
  start: "m",
  end: "model.safetensors",
  tied: false,
  tensors: [CHANGED, { ...CHANGED, part: "mlp", layer: 1 }],
};
const METRICS = [1, 2, 3].map((step) =>
  JSON.stringify({ step, "cost/mean": 1.5, kl: step / 3, "lambda/value": null, step_time: 2 })
);

function prepareRun(dir: string): void {
  for (const folder of ["samples", "rollouts"]) mkdirSync(join(dir, folder), { recursive: true });
  writeFileSync(join(dir, "metrics.jsonl"), `${METRICS.join("\n")}\n`);
  writeFileSync(join(dir, "run_config.json"), '{"seed": 1, "stop_strings": ["a"]}');
  writeFileSync(join(dir, "samples", "train_1.jsonl"), `${JSON.stringify(SAMPLE)}\n`);
  writeFileSync(join(dir, "samples", "train_scatter_1.json"), JSON.stringify(POINTS));
}

async function checkpointIn(dir: string): Promise<string> {
  return await saveCheckpoint(dir, contentOf(1, { lambda: 0.5, rows: [1, 2] }));
}

/** A changed state under a manifest that vouches for it. */
async function readState(dir: string): Promise<void> {
  const folder = join(dir, "checkpoint-1");
  const path = join(folder, "checkpoint_manifest.json");
  const manifest = JSON.parse(readFileSync(path, "utf8"));
  const bytes = readFileSync(join(folder, "trainer_state.json"));
  const entry = manifest.files.find(({ name }: { name: string }) => name === "trainer_state.json");
  entry.size_bytes = bytes.length;
  entry.sha256 = createHash("sha256").update(bytes).digest("hex");
  writeFileSync(path, JSON.stringify(manifest));
  await (await loadCheckpoint(folder)).close();
}

/** The quickstart's parquet files are small; those of the golden folder have every compression. */
const PARQUETS = ["none", "snappy", "gzip", "zstd", "brotli"].map((name) =>
  `test/golden/parquet_rows/${name}.parquet`
);

export const FORMATS: readonly Format[] = [
  {
    name: "settings (YAML)",
    file: "run.yaml",
    shape: "yaml",
    seeds: () => [
      ...["quickstart", "grpo_alignment", "quickstart_lora"].map((name) => fileOf(`configs/${name}.yaml`)),
      text("run_name: *best", "max_steps: 1"),
      text('a: &a ["x","x"]', "b: &b [*a,*a,*a]", "c: [*b,*b]"),
      text("? [max_steps, beta]", ": 5"),
      text("run_name: &k max_steps", "*k : 5"),
      text("stop_strings: &a [*a]"),
    ],
    async read(dir) {
      const fileName = join(dir, "run.yaml");
      formatConfig(loadConfig({ text: await readSettings(fileName), fileName }));
    },
  },
  {
    name: "accelerate's settings (YAML)",
    file: "accelerate.yaml",
    shape: "yaml",
    seeds: () => [
      fileOf("configs/accelerate_zero2.yaml"),
      text(
        "distributed_type: DEEPSPEED",
        "num_processes: 2",
        "gpu_ids: 0,1",
        "deepspeed_config:",
        "  zero_stage: 2",
        "  gradient_clipping: 1.0",
        "  offload_optimizer_device: none",
      ),
    ],
    async read(dir) {
      const fileName = join(dir, "accelerate.yaml");
      readAccelerate({ text: await readSettings(fileName), fileName });
    },
  },
  {
    name: "DeepSpeed's settings (JSON)",
    file: "ds.json",
    shape: "json",
    seeds: () => [fileOf("configs/ds_zero2.json")],
    async read(dir) {
      const deepspeed = await readDeepspeedFile(join(dir, "ds.json"));
      loadConfig({ text: "max_steps: 4", fileName: "run.yaml" }, { deepspeed });
    },
  },
  ...MODEL_FORMATS,
  ...([
    [
      "prompts (JSON Lines)",
      "p.jsonl",
      "lines",
      () => [text(...ROWS), fileOf("models/quickstart/eval_prompts.jsonl")],
    ],
    ["prompts (JSON array)", "p.json", "json", () => [text(ARRAY), text("[\n", '{"prompt":"a"}', "]")]],
    ["prompts (gzip)", "p.jsonl.gz", "bytes", () => [gzipSync(ROWS.join("\n")), gzipSync(ARRAY)]],
    ["prompts (Parquet)", "p.parquet", "bytes", () => PARQUETS.map(fileOf)],
  ] as const).map(([name, file, shape, seeds]): Format => ({
    name,
    file,
    shape,
    seeds: () => seeds().map((bytes) => new Uint8Array(bytes)),
    read: (dir) => usePrompts(join(dir, file)),
  })),
  {
    name: "checkpoint_manifest.json",
    file: "checkpoint-1/checkpoint_manifest.json",
    shape: "json",
    prepare: checkpointIn,
    seeds: (dir) => [new Uint8Array(readFileSync(join(dir, "checkpoint-1", "checkpoint_manifest.json")))],
    read: async (dir) => (await loadCheckpoint(join(dir, "checkpoint-1"))).close(),
  },
  {
    name: "trainer_state.json",
    file: "checkpoint-1/trainer_state.json",
    shape: "json",
    prepare: checkpointIn,
    seeds: () => [json({ version: 1, step: 1, state: { lambda: 0.5, rows: [1, 2] } })],
    read: readState,
  },
  {
    name: "metrics.jsonl (report)",
    file: "metrics.jsonl",
    shape: "lines",
    prepare: prepareRun,
    seeds: () => [text(...METRICS, "")],
    read: (dir) => buildReport([dir]),
  },
  {
    name: "metrics.jsonl (resume)",
    file: "metrics.jsonl",
    shape: "lines",
    seeds: () => [text(...METRICS, "")],
    read: (dir) => openAppendLog(join(dir, "metrics.jsonl"), 2).close(),
  },
  ...([
    ["samples/train_1.jsonl", "lines", [`${JSON.stringify(SAMPLE)}\n`]],
    ["samples/train_scatter_1.json", "json", [JSON.stringify(POINTS)]],
    ["weight_change.json", "json", [JSON.stringify(CHANGE)]],
    ["run_config.json", "json", ['{"seed": 1, "stop_strings": ["a"], "lora": {"r": 1}}']],
  ] as const).map(([file, shape, seeds]): Format => ({
    name: file,
    file,
    shape,
    prepare: prepareRun,
    seeds: () => seeds.map((seed) => text(seed)),
    read: (dir) => buildReport([dir]),
  })),
  {
    name: "rollouts/1.jsonl.gz",
    file: "rollouts/1.jsonl.gz",
    shape: "bytes",
    prepare: prepareRun,
    seeds: () => [gzipSync(`${JSON.stringify(ROLLOUT)}\n`)],
    read: (dir) => buildReport([dir]),
  },
  {
    name: "the scorer's address (file:PATH)",
    file: "url.txt",
    shape: "bytes",
    seeds: () => [text("http://127.0.0.1:8000", "")],
    read: (dir) => scorerUrlsAt(`file:${join(dir, "url.txt")}`),
  },
];
