/** The files of a model, of its tokenizer and of an adapter, and how they are read. */
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parsePolicyConfig } from "../../../src/assembly/models.ts";
import { configFindings } from "../../../src/cli/doctor/model_findings.ts";
import { parsedObject } from "../../../src/config/parsed_json.ts";
import { openAdapterFolder } from "../../../src/io/model/adapter_folder.ts";
import { readGenerationEnds } from "../../../src/io/model/generation_config.ts";
import { openModelFolder, readConfig } from "../../../src/io/model/model_folder.ts";
import { openModelWeights } from "../../../src/io/model/model_weights.ts";
import { openPromptFormat } from "../../../src/io/prompts/prompt_format.ts";
import { loadTokenizer } from "../../../src/io/tokenizer/tokenizer.ts";
import { parseAdapterConfig } from "../../../src/policy/adapter_config.ts";
import { parseScoreConfig } from "../../../src/policy/score_config.ts";
import { ROOT } from "../../unit/source_files.ts";
import { base64Of, copy, fileOf, type Format, json, MODEL, text } from "./seeds.ts";

const TOKENIZERS = "test/golden/text";

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

const TEMPLATE =
  "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] | trim }} " +
  "[/INST]{% elif m.role == 'system' %}{{ raise_exception('no system') }}{% else %}{{ m.content }}{% endif %}" +
  "{% endfor %}{% set x = namespace(a=1) %}{% if add_generation_prompt %}{{ x.a ~ '\\n' }}{% endif %}";

export const MODEL_FORMATS: readonly Format[] = [
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
    seeds: () =>
      ["llama2_json", "llama3_json", "bytes_json"].map((name) =>
        fileOf(`${TOKENIZERS}/${name}/tokenizer.json`)
      ),
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
    seeds: () =>
      ["llama2_model", "unigram_model", "spaces_model"].map((name) =>
        fileOf(`${TOKENIZERS}/${name}/tokenizer.model`)
      ),
    read: useTokenizer,
  },
  {
    name: "chat_template.jinja",
    file: "chat_template.jinja",
    shape: "bytes",
    seeds: () => [
      text(TEMPLATE),
      text(
        "{% set n = namespace(x='ab') %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
      ),
    ],
    prepare: copy(`${TOKENIZERS}/llama2_json`),
    read: useTokenizer,
  },
  {
    name: "chat_template.json",
    file: "chat_template.json",
    shape: "json",
    seeds:
      () => [json({ chat_template: TEMPLATE }), json({ chat_template: { default: TEMPLATE, rag: "x" } })],
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
    seeds:
      () => [fileOf(`${MODEL}/model.safetensors`), fileOf("test/golden/models/qwen2_bf16/model.safetensors")],
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
      json({
        metadata: { total_size: 32 },
        weight_map: Object.fromEntries(tensorNames().map((name) => [name, "a.safetensors"])),
      }),
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
];
