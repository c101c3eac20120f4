/** Model folders as people have them: the names, formats and configs that other programs write. */
import assert from "node:assert/strict";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { openModelFolder } from "../../src/io/model/model_folder.ts";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import { canonicalNames } from "../../src/io/model/tensor_names.ts";
import { openSafetensors, type TensorSource, writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const LLAMA = fileURLToPath(new URL("../golden/models/llama2/", import.meta.url));
const LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 4976698672\n";

const config = async () => JSON.parse(await readFile(join(LLAMA, "config.json"), "utf8"));

/** The tensors of a model under other names, and some more. */
async function renamed(
  rename: (name: string) => string,
  more: readonly string[] = [],
): Promise<TensorSource[]> {
  const reader = await openSafetensors(join(LLAMA, "model.safetensors"));
  const tensors: TensorSource[] = [];
  for (const [name, { shape }] of reader.tensors) {
    tensors.push({ name: rename(name), dtype: "F32", shape, bytes: await reader.read(name) });
  }
  await reader.close();
  return [
    ...tensors,
    ...more.map((name) => ({ name, dtype: "F32" as const, shape: [1], bytes: new Uint8Array(4) })),
  ];
}

async function writeModel(dir: string, tensors: readonly TensorSource[], json: unknown): Promise<void> {
  await writeSafetensors(join(dir, "model.safetensors"), tensors);
  await writeFile(join(dir, "config.json"), JSON.stringify(json));
}

/** What a folder gives under the names of the model that it was made of. */
async function assertSameModel(dir: string, missing: readonly string[] = []): Promise<string> {
  const [folder, original] = [await openModelFolder(dir), await openModelFolder(LLAMA)];
  try {
    const names = [...original.source.names()].filter((name) => !missing.includes(name));
    assert.deepEqual([...folder.source.names()].sort(), names.sort());
    for (const name of names) {
      assert.deepEqual(await folder.source.read(name), await original.source.read(name), name);
    }
    return folder.configText;
  } finally {
    await folder.close();
    await original.close();
  }
}

describe("tensors have the names of transformers, whatever wrote the file", () => {
  const spellings: [string, (name: string) => string, string[]][] = [
    ["a bare transformer", (name) => name.replace(/^model\./, ""), []],
    ["DistributedDataParallel", (name) => `module.${name}`, []],
    ["torch.compile", (name) => `_orig_mod.${name}`, []],
    ["both, and layers compiled alone", (name) => {
      return `module._orig_mod.${name.replace(/(layers\.\d+\.)/, "$1_orig_mod.")}`;
    }, []],
    ["FSDP with activation checkpointing", (name) => {
      return `_fsdp_wrapped_module.${name.replace(/(layers\.\d+\.)/, "$1_checkpoint_wrapped_module.")}`;
    }, []],
    [
      "a model that sees, as it is saved today",
      (name) => name.replace(/^model\./, "model.language_model."),
      ["model.visual.patch_embed.proj.weight", "model.multi_modal_projector.linear.weight"],
    ],
    ["a model that sees, as it was saved before", (name) => `language_model.${name}`, [
      "vision_tower.encoder.layers.0.weight",
      "multi_modal_projector.linear_1.bias",
      "image_newline",
    ]],
  ];
  for (const [what, rename, more] of spellings) {
    it(what, () =>
      withScratchFolder(async (dir) => {
        await writeModel(dir, await renamed(rename, more), await config());
        await assertSameModel(dir);
      }));
  }

  it("a score model of a bare transformer keeps its head's name", () => {
    const { stored } = canonicalNames(["embed_tokens.weight", "norm.weight", "score_head.weight"], "m");
    assert.deepEqual([...stored.keys()], [
      "model.embed_tokens.weight",
      "model.norm.weight",
      "score_head.weight",
    ]);
  });

  it("what looks like another part is left out only beside a text part", () => {
    const names = ["model.norm.weight", "vision_tower.weight"];
    assert.deepEqual([...canonicalNames(names, "m").stored.keys()], names);
    const parts = canonicalNames(["language_model.model.norm.weight", "vision_tower.weight"], "m");
    assert.deepEqual(parts.leftOut, ["vision_tower.weight"]);
  });

  it("two tensors of one name are refused, both named", () => {
    const both = ["module.lm_head.weight", "lm_head.weight"];
    assert.throws(
      () => canonicalNames(both, "m"),
      /Cannot read 'm': "module\.lm_head\.weight" and "lm_head\.weight" both stand for "lm_head\.weight"; keep/,
    );
  });
});

describe("config.json is the one of the model that is held", () => {
  it("a model that sees is its text part, with the ends and quantization of the whole", () =>
    withScratchFolder(async (dir) => {
      const { eos_token_id: _, ...text } = await config();
      const whole = { model_type: "llava", eos_token_id: 7, text_config: text, vision_config: {} };
      await writeModel(dir, await renamed((name) => `language_model.${name}`), whole);
      const { model_type, eos_token_id, text_config } = JSON.parse(await assertSameModel(dir));
      assert.deepEqual([model_type, eos_token_id, text_config], ["llama", 7, undefined]);
    }));

  it("8-bit floats are said to be quantized no more", () =>
    withScratchFolder(async (dir) => {
      const quantization_config = { quant_method: "fp8", weight_block_size: [128, 128] };
      await writeModel(dir, await renamed((name) => name), { ...await config(), quantization_config });
      assert.deepEqual(JSON.parse(await assertSameModel(dir)), await config());
    }));

  const methods: [string, Record<string, unknown>, RegExp][] = [
    [
      "gptq",
      { quant_method: "gptq", bits: 4 },
      /by gptq, 4 bits are not supported.*that it was quantized from/,
    ],
    ["awq", { quant_method: "awq", bits: 4 }, /by awq, 4 bits/],
    ["bitsandbytes", { load_in_4bit: true }, /by bitsandbytes, 4 bits.*model\.dequantize\(\)/],
    ["mxfp4", { quant_method: "mxfp4" }, /by mxfp4 .*Mxfp4Config\(dequantize=True\)/],
    ["ModelOpt's 4 bits", { quant_method: "modelopt", quant_algo: "NVFP4" }, /by modelopt/],
    ["integers of compressed-tensors", {
      quant_method: "compressed-tensors",
      config_groups: { group_0: { weights: { type: "int", num_bits: 8 } } },
    }, /by compressed-tensors/],
    ["no method", {}, /of an unnamed method/],
  ];
  for (const [what, quantization_config, message] of methods) {
    it(`weights quantized by ${what} are refused with the way back, before weights are looked for`, () =>
      withScratchFolder(async (dir) => {
        const json = JSON.stringify({ ...await config(), quantization_config });
        await writeFile(join(dir, "config.json"), json);
        await assert.rejects(openModelFolder(dir), (error: Error) => {
          assert.ok(error instanceof TypeError && error.message.startsWith(`${join(dir, "config.json")}: `));
          assert.match(error.message, message);
          return true;
        });
      }));
  }
});

describe("what is no model says how it becomes one", () => {
  const rejects = (dir: string, message: RegExp) => assert.rejects(openModelFolder(dir), message);

  it("a folder that is not there, a file, an empty folder", () =>
    withScratchFolder(async (dir) => {
      const path = join(dir, "model.bin");
      await writeFile(path, "");
      await rejects(join(dir, "none"), /there is no folder '.*none'; correct the path/);
      await rejects(path, /it is a file.*; give the folder that it lies in/);
      await rejects(dir, /the folder has no config\.json.*save_pretrained\(\) wrote/);
    }));

  it("a run that has not ended, whose newest checkpoint is named", () =>
    withScratchFolder(async (dir) => {
      for (const step of [2, 10, 9]) await mkdir(join(dir, `checkpoint-${step}`));
      const pointer = /a run that has not ended: give .*checkpoint-10, or let the run end/;
      await rejects(dir, pointer);
      await copyFile(join(LLAMA, "config.json"), join(dir, "config.json"));
      await rejects(dir, pointer);
    }));

  it("a GGUF file, and a folder that holds one", () =>
    withScratchFolder(async (dir) => {
      const path = join(dir, "model-Q4_K_M.gguf");
      await writeFile(path, "GGUF");
      const convert = /from_pretrained\(DIR, gguf_file="NAME\.gguf"\)\.save_pretrained\(OUT\)/;
      for (const place of [path, dir]) await rejects(place, convert);
      await copyFile(join(LLAMA, "config.json"), join(dir, "config.json"));
      await rejects(dir, /looked for model\.safetensors.*holds a GGUF file \(model-Q4_K_M\.gguf\)/);
    }));

  for (
    const [name, message] of [
      ["consolidated.00.pth", /format of the model's maker .*convert script/],
      ["tf_model.h5", /weights of another program .*save_pretrained\(\) it as safetensors/],
      ["model-00001-of-00002.safetensors", /shards without an index .*\.index\.json/],
    ] as const
  ) {
    it(`a folder of ${name}`, () =>
      withScratchFolder(async (dir) => {
        await copyFile(join(LLAMA, "config.json"), join(dir, "config.json"));
        await writeFile(join(dir, name), "");
        await rejects(dir, message);
      }));
  }

  for (
    const name of ["config.json", "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"]
  ) {
    it(`a Git LFS pointer in place of ${name}`, () =>
      withScratchFolder(async (dir) => {
        await copyFile(join(LLAMA, "config.json"), join(dir, "config.json"));
        await writeFile(join(dir, name), LFS);
        await rejects(dir, new RegExp(`Cannot read '.*${name}': it is a Git LFS pointer.*git lfs pull`));
      }));
  }

  it("a Git LFS pointer in place of a tokenizer", () =>
    withScratchFolder(async (dir) => {
      for (const name of ["tokenizer.model", "tokenizer.json"]) {
        await writeFile(join(dir, name), LFS);
        await assert.rejects(
          loadTokenizer(dir),
          new RegExp(`Cannot read '.*${name}': it is a Git LFS pointer`),
        );
      }
    }));

  it("what config.json alone decides is said before weights are looked for", () =>
    withScratchFolder(async (dir) => {
      await writeFile(join(dir, "config.json"), '{"model_type": "gpt2"}');
      const accept = (text: string, path: string) => {
        throw new TypeError(`${path}: ${JSON.parse(text).model_type}`);
      };
      await assert.rejects(openModelFolder(dir, { accept }), /config\.json: gpt2/);
    }));

  it("an index that names a tensor twice", () =>
    withScratchFolder(async (dir) => {
      await mkdir(dir, { recursive: true });
      await copyFile(join(LLAMA, "config.json"), join(dir, "config.json"));
      const index = '{"weight_map": {"a": "x.safetensors", "b": "x.safetensors", "a": "y.safetensors"}}';
      await writeFile(join(dir, "model.safetensors.index.json"), index);
      await rejects(dir, /names tensor "a" twice/);
    }));
});
