// Every kind of file that is read, with real ones of it, and the way in which the program reads it.
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readDeepspeedFile } from "../../../src/assembly/deepspeed_file.ts";
import { parsePolicyConfig } from "../../../src/assembly/models.ts";
import { buildReport } from "../../../src/assembly/report.ts";
import { configFindings } from "../../../src/cli/doctor/model_findings.ts";
import { readSettings } from "../../../src/cli/options.ts";
import { readAccelerate } from "../../../src/config/accelerate.ts";
import { formatConfig } from "../../../src/config/describe.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { parsedObject } from "../../../src/config/parsed_json.ts";
import { openAdapterFolder } from "../../../src/io/model/adapter_folder.ts";
import { readGenerationEnds } from "../../../src/io/model/generation_config.ts";
import { openModelFolder, readConfig } from "../../../src/io/model/model_folder.ts";
import { openModelWeights } from "../../../src/io/model/model_weights.ts";
import { openPromptFormat } from "../../../src/io/prompts/prompt_format.ts";
import { readPrompts } from "../../../src/io/prompts/prompts.ts";
import { openAppendLog } from "../../../src/io/records/append_log.ts";
import { loadCheckpoint, saveCheckpoint } from "../../../src/io/records/checkpoint.ts";
import { loadTokenizer } from "../../../src/io/tokenizer/tokenizer.ts";
import { parseAdapterConfig } from "../../../src/policy/adapter_config.ts";
import { parseScoreConfig } from "../../../src/policy/score_config.ts";
import { scorerUrlsAt } from "../../../src/scorer/url.ts";
import { contentOf } from "../../unit/checkpoint_content.ts";
import { ROOT } from "../../unit/source_files.ts";
import type { Shape } from "./mutants.ts";

export interface Format {
  name: string;
  /** Below the folder; its last part must be in every message. */
  file: string;
  shape: Shape;
  /** @param dir where prepare() was */
  seeds: (dir: string) => Uint8Array[];
  /** Puts what lies beside the file into the folder. */
  prepare?: (dir: string) => unknown;
  /** Reads the file as the program does, and uses what came out. */
  read: (dir: string) => unknown;
}

const fileOf = (path: string) => new Uint8Array(readFileSync(join(ROOT, path)));
const base64Of = (path: string, key: string) =>
  new Uint8Array(Buffer.from(JSON.parse(readFileSync(join(ROOT, path), "utf8"))[key], "base64"));
const text = (...lines: string[]) => new TextEncoder().encode(lines.join("\n"));
const json = (value: unknown) => text(JSON.stringify(value));
const MODEL = "test/golden/models/llama2";
const TOKENIZERS = "test/golden/text";
const copy = (from: string) => (dir: string) => cpSync(join(ROOT, from), dir, { recursive: true });

/** Of the model that stands in for others. */
function tensorNames(): string[] {
  const bytes = fileOf(`${MODEL}/model.safetensors`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header: object = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return Object.keys(header).filter((name) => name !== "__metadata__");
}

async function useWeights(dir: string): Promise<void> {
  const weights = await openModelWeights(dir);
  try {
    for (const name of weights.tensors.keys()) await weights.read(name);
  } finally {
    await weights.close();
  }
}

async function useTokenizer(dir: string): Promise<void> {
  const tokenizer = await loadTokenizer(dir);
  const ids = tokenizer.encode("hello \u00e9\u4e2d the  end</s>\n");
  tokenizer.encodeAsText("hello");
  tokenizer.decode(ids, { skipSpecialTokens: true });
  const format = await openPromptFormat(tokenizer, {
    chatTemplate: null,
    systemPrompt: null,
    templateKwargs: null,
  });
  format.encode("hello </s>", 200);
}

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

const SAMPLE = { prompt: "p", completion: "c", reward: 1, cost: -1, combined: 0.5, unsafe: false, scores: { a: 1 } };
const POINTS = { step: 1, from_step: 1, total: 2, rewards: [1, 2], costs: [0, -1] };
const METRICS = [1, 2, 3].map((step) =>
  JSON.stringify({ step, "cost/mean": 1.5, kl: step / 3, "lambda/value": null, step_time: 2 })
);

function prepareRun(dir: string): void {
  mkdirSync(join(dir, "samples"), { recursive: true });
  writeFileSync(join(dir, "metrics.jsonl"), `${METRICS.join("\n")}\n`);
  writeFileSync(join(dir, "run_config.json"), '{"seed": 1, "stop_strings": ["a"]}');
  writeFileSync(join(dir, "samples", "train_1.jsonl"), `${JSON.stringify(SAMPLE)}\n`);
  writeFileSync(join(dir, "samples", "train_scatter_1.json"), JSON.stringify(POINTS));
}

const TEMPLATE = "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] | trim }} " +
  "[/INST]{% elif m.role == 'system' %}{{ raise_exception('no system') }}{% else %}{{ m.content }}{% endif %}" +
  "{% endfor %}{% set x = namespace(a=1) %}{% if add_generation_prompt %}{{ x.a ~ '\\n' }}{% endif %}";

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
  {
    name: "config.json",
    file: "config.json",
    shape: "json",
    seeds: () => [
      ...["llama2", "llama3", "mistral", "qwen2", "qwen3"].map((name) =>
        fileOf(`test/golden/models/${name}/config.json`)
      ),
      fileOf("models/quickstart/reward/config.json"),
      json({
        model_type: "gemma3",
        text_config: { ...JSON.parse(readFileSync(join(ROOT, MODEL, "config.json"), "utf8")) },
        quantization_config: { quant_method: "fp8", weight_block_size: [128, 128] },
      }),
    ],
    prepare: copy(MODEL),
    async read(dir) {
      const path = join(dir, "config.json");
      const configText = await readConfig(dir);
      configFindings(parsedObject(configText, path, "correct it"), path);
      try {
        await (await openModelFolder(dir, { accept: parsePolicyConfig })).close();
      } finally {
        parseScoreConfig(configText, path);
      }
    },
  },
  {
    name: "tokenizer.json",
    file: "tokenizer.json",
    shape: "json",
    seeds: () => ["llama2_json", "llama3_json", "bytes_json"].map((name) => fileOf(`${TOKENIZERS}/${name}/tokenizer.json`)),
    prepare: copy(`${TOKENIZERS}/llama2_json`),
    read: useTokenizer,
  },
  {
    name: "tokenizer_config.json",
    file: "tokenizer_config.json",
    shape: "json",
    seeds: () => [
      fileOf(`${TOKENIZERS}/llama2_json/tokenizer_config.json`),
      json({
        bos_token: { content: "<s>", lstrip: false },
        eos_token: "</s>",
        chat_template: [{ name: "default", template: TEMPLATE }],
        added_tokens_decoder: { "2": { content: "</s>", special: true } },
      }),
    ],
    prepare: copy(`${TOKENIZERS}/llama2_json`),
    read: useTokenizer,
  },
  {
    name: "special_tokens_map.json",
    file: "special_tokens_map.json",
    shape: "json",
    seeds: () => [fileOf(`${TOKENIZERS}/llama2_files/special_tokens_map.json`)],
    prepare: copy(`${TOKENIZERS}/llama2_files`),
    read: useTokenizer,
  },
  {
    name: "added_tokens.json",
    file: "added_tokens.json",
    shape: "json",
    seeds: () => [fileOf(`${TOKENIZERS}/llama2_files/added_tokens.json`)],
    prepare: copy(`${TOKENIZERS}/llama2_files`),
    read: useTokenizer,
  },
  {
    name: "tokenizer.model",
    file: "tokenizer.model",
    shape: "bytes",
    seeds: () => ["llama2_model", "unigram_model", "spaces_model"].map((name) => fileOf(`${TOKENIZERS}/${name}/tokenizer.model`)),
    read: useTokenizer,
  },
  {
    name: "chat_template.jinja",
    file: "chat_template.jinja",
    shape: "bytes",
    seeds: () => [
      text(TEMPLATE),
      text("{% set n = namespace(x='ab') %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"),
    ],
    prepare: copy(`${TOKENIZERS}/llama2_json`),
    read: useTokenizer,
  },
  {
    name: "chat_template.json",
    file: "chat_template.json",
    shape: "json",
    seeds: () => [json({ chat_template: TEMPLATE }), json({ chat_template: { default: TEMPLATE, rag: "x" } })],
    prepare: copy(`${TOKENIZERS}/llama2_json`),
    read: useTokenizer,
  },
  {
    name: "generation_config.json",
    file: "generation_config.json",
    shape: "json",
    seeds: () => [json({ eos_token_id: [2, 7], temperature: 0.6 }), json({ eos_token_id: 2 })],
    read: readGenerationEnds,
  },
  {
    name: "adapter_config.json",
    file: "adapter_config.json",
    shape: "json",
    seeds: () => [fileOf("test/golden/lora/llama2_all/adapter_config.json")],
    prepare: copy("test/golden/lora/llama2_all"),
    async read(dir) {
      const folder = await openAdapterFolder(dir);
      await folder!.close();
      parseAdapterConfig(folder!.configText, folder!.configPath);
    },
  },
  {
    name: "model.safetensors",
    file: "model.safetensors",
    shape: "bytes",
    seeds: () => [fileOf(`${MODEL}/model.safetensors`), fileOf("test/golden/models/qwen2_bf16/model.safetensors")],
    read: useWeights,
  },
  {
    name: "model.safetensors.index.json",
    file: "model.safetensors.index.json",
    shape: "json",
    prepare: (dir) => {
      cpSync(join(ROOT, MODEL, "model.safetensors"), join(dir, "a.safetensors"));
      cpSync(join(ROOT, MODEL, "model.safetensors"), join(dir, "b.safetensors"));
    },
    seeds: () => [
      json({ metadata: { total_size: 32 }, weight_map: Object.fromEntries(tensorNames().map((name) => [name, "a.safetensors"])) }),
    ],
    read: useWeights,
  },
  {
    name: "pytorch_model.bin",
    file: "pytorch_model.bin",
    shape: "bytes",
    seeds: () => [base64Of("test/golden/torch_bin.json", "file_base64")],
    read: useWeights,
  },
  ...([
    ["prompts (JSON Lines)", "p.jsonl", "lines", () => [text(...ROWS), fileOf("models/quickstart/eval_prompts.jsonl")]],
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
    name: "the scorer's address (file:PATH)",
    file: "url.txt",
    shape: "bytes",
    seeds: () => [text("http://127.0.0.1:8000", "")],
    read: (dir) => scorerUrlsAt(`file:${join(dir, "url.txt")}`),
  },
];
