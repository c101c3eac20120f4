// What stands in a model's place where no model does, and how it becomes one.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

const CONVERT_GGUF =
  'convert it with transformers: AutoModelForCausalLM.from_pretrained(DIR, gguf_file="NAME.gguf")' +
  ".save_pretrained(OUT), and AutoTokenizer in the same way";

/** Files of models in other programs' formats, and how they become one that is read here. */
const OTHER_FORMATS: readonly (readonly [name: RegExp, format: string, remedy: string])[] = [
  [/\.gguf$/i, "a GGUF file", CONVERT_GGUF],
  [
    /^consolidated.*\.(pth|safetensors)$/,
    "weights in the format of the model's maker",
    "download the model in Hugging Face's format, or convert it with the convert script of transformers",
  ],
  [
    /^(tf_model\.h5|flax_model\.msgpack|.*\.onnx)$/,
    "weights of another program",
    "load the model with transformers and save_pretrained() it as safetensors",
  ],
  [
    /^(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)$/,
    "shards without an index",
    "download their .index.json into the folder too",
  ],
];

/** The newest checkpoint in the folder of a run that has not written its final model; as trainers of Python name it. */
function newestCheckpoint(names: readonly string[]): string | null {
  const steps = names.flatMap((name) => {
    const [, step] = /^checkpoint-(\d+)$/.exec(name) ?? [];
    return step === undefined ? [] : [Number(step)];
  });
  return steps.length === 0 ? null : `checkpoint-${steps.reduce((a, b) => Math.max(a, b))}`;
}

/** What a folder holds instead of weights that are read, with what to do; else null. */
export async function otherFormat(dir: string): Promise<string | null> {
  const names = await readdir(dir).catch(() => []);
  const checkpoint = newestCheckpoint(names);
  if (checkpoint !== null) {
    return `it is the folder of a run that has not ended: give ${join(dir, checkpoint)}, or let the run end`;
  }
  for (const [pattern, format, remedy] of OTHER_FORMATS) {
    const found = names.find((name) => pattern.test(name));
    if (found !== undefined) return `it holds ${format} (${found}): ${remedy}`;
  }
  return null;
}

/** Why a name, or a folder without a config.json, opens as no model. */
export async function missingModel(dir: string): Promise<Error> {
  const failed = `Cannot load a model from '${dir}'`;
  const stats = await stat(dir).catch(() => null);
  if (stats === null) {
    const other = /[/\\]/.test(dir) ? "" : ', or give a hub id ("org/name")';
    return new Error(`${failed}: there is no folder '${dir}'; correct the path${other}`);
  }
  if (stats.isFile()) {
    return /\.gguf$/i.test(dir)
      ? new Error(`${failed}: it is a GGUF file, required a folder in Hugging Face's format; ${CONVERT_GGUF}`)
      : new Error(`${failed}: it is a file, required a model's folder; give the folder that it lies in`);
  }
  const other = await otherFormat(dir);
  const required = "required config.json, weights and a tokenizer in Hugging Face's format";
  return new Error(
    other === null
      ? `${failed}: the folder has no config.json, ${required}; give the folder that save_pretrained() wrote`
      : `${failed}: ${required}, but ${other}`,
  );
}
