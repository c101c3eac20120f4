// config.json as this program holds the model: the text part alone, its weights not quantized any more.

import { parsedObject } from "../../config/parsed_json.ts";
import { isJsonObject, type JsonObject } from "../files/json_object.ts";
import { changedJson } from "../files/json_text.ts";
import type { BlockSize, ScaleRules } from "./converted_weights.ts";

export interface ModelDescription {
  /** config.json, changed where the weights are held otherwise than they are stored. */
  text: string;
  rules: ScaleRules;
}

const UNSCALED: ScaleRules = { areScaled: false, block: null };

/** Where transformers keeps what belongs to the whole of a model that sees or hears, and its text part needs. */
const OF_THE_WHOLE = [
  "quantization_config",
  "tie_word_embeddings",
  "eos_token_id",
  "bos_token_id",
  "pad_token_id",
];

/** Methods that leave 8-bit floats with scales in the file. */
const FLOAT8_METHODS = ["fp8", "fbgemm_fp8", "compressed-tensors", "modelopt"];

const ORIGINAL = "take the model that it was quantized from";
/** How weights come back that were quantized otherwise. */
const REMEDIES: Readonly<Record<string, string>> = {
  bitsandbytes: "load it with transformers, call model.dequantize() and save_pretrained() into a folder",
  mxfp4:
    "load it with transformers and quantization_config=Mxfp4Config(dequantize=True), and save_pretrained() it",
};

/** What a quantization_config says, and whether this program reads such weights. */
export interface Quantization {
  /** In words, as "gptq, 4 bits". */
  method: string;
  /** null where it is read: as bf16. */
  remedy: string | null;
}

/** @param json config.json. @returns null where weights are not quantized */
export function quantizationOf(json: JsonObject): Quantization | null {
  const config = json.quantization_config;
  if (!isJsonObject(config)) return null;
  const method = typeof config.quant_method === "string"
    ? config.quant_method
    : config.load_in_4bit || config.load_in_8bit
    ? "bitsandbytes"
    : "of an unnamed method";
  const bits = config.bits ?? (config.load_in_4bit ? 4 : config.load_in_8bit ? 8 : undefined);
  const isRead = FLOAT8_METHODS.includes(method) && isFloat8(config, method);
  return {
    method: typeof bits === "number" ? `${method}, ${bits} bits` : method,
    remedy: isRead ? null : REMEDIES[method] ?? ORIGINAL,
  };
}

/** Two of the methods have other formats too. */
function isFloat8(config: JsonObject, method: string): boolean {
  if (method === "modelopt") return config.quant_algo === "FP8";
  if (method !== "compressed-tensors") return true;
  const groups = Object.values(isJsonObject(config.config_groups) ? config.config_groups : {});
  return groups.length > 0 && groups.every((group) => {
    const weights = isJsonObject(group) && isJsonObject(group.weights) ? group.weights : {};
    return weights.type === "float" && weights.num_bits === 8;
  });
}

/**
 * Reads what config.json says of the weights' form.
 * @param path named in errors
 * @throws TypeError when the text is no JSON object, or they are quantized in a way that is not read; it says how they
 *   come back
 */
export function describeModel(text: string, path: string): ModelDescription {
  const json = parsedObject(text, path, "download or copy it again");
  const whole = textPart(json);
  const quantization = quantizationOf(whole);
  if (quantization === null) {
    return { text: whole === json ? text : changedJson(text, textPart), rules: UNSCALED };
  }
  if (quantization.remedy !== null) {
    throw new TypeError(
      `${path}: weights quantized by ${quantization.method} are not supported; need F32, BF16, F16 or 8-bit floats: ` +
        quantization.remedy,
    );
  }
  const withoutQuantization = ({ quantization_config: _config, ...rest }: JsonObject) => rest;
  return {
    text: changedJson(text, (marked) => withoutQuantization(textPart(marked))),
    rules: { areScaled: true, block: blockOf(whole.quantization_config as JsonObject) },
  };
}

/** The text part of a model that sees or hears, with what stands beside it for the whole; else the config as it is. */
export function textPart(json: JsonObject): JsonObject {
  const part = json.text_config;
  if (!isJsonObject(part)) return json;
  const shared = OF_THE_WHOLE.filter((key) => json[key] !== undefined).map((key) => [key, json[key]]);
  const model_type = `${json.model_type}_text`; // as transformers names it, where the part does not
  return { model_type, ...Object.fromEntries(shared), dtype: json.dtype ?? json.torch_dtype, ...part };
}

function blockOf(config: JsonObject): BlockSize | null {
  const size = config.weight_block_size;
  const isBlock = Array.isArray(size) && size.length === 2 && size.every((n) => Number.isInteger(n) && n > 0);
  return isBlock ? [size[0], size[1]] : null;
}
