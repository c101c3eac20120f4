/** Looks at a model for `doctor --model`: config.json, tokenizer, weights if there are any. Changes nothing. */
import { join } from "node:path";
import { endsText } from "../../assembly/ends.ts";
import { endsOf } from "../../assembly/models.ts";
import { withModelTexts } from "../../assembly/model_texts.ts";
import { parsedObject } from "../../config/parsed_json.ts";
import { formatBytes } from "../../config/units.ts";
import { messageOf } from "../../io/files/errors.ts";
import { isJsonObject } from "../../io/files/json_object.ts";
import { readIfThere } from "../../io/files/presence.ts";
import { quantizationOf, textPart } from "../../io/model/config_text.ts";
import { openModelFolder, readConfig } from "../../io/model/model_folder.ts";
import { hasWeights } from "../../io/model/model_weights.ts";
import { compileChatTemplate } from "../../io/tokenizer/chat_template.ts";
import { loadTokenizer, type Tokenizer } from "../../io/tokenizer/tokenizer.ts";
import type { ModelConfig } from "../../policy/families/family.ts";
import { type Finding, requirementFindings, type Section } from "./diagnosis.ts";
import { configFindings } from "./model_findings.ts";

const TOKENIZER_REMEDY = "save it into the folder with tokenizer.save_pretrained() of transformers";

/** What is supported of a model, and what is not. @param name a folder, a config.json, or a hub id */
export async function modelSection(name: string): Promise<Section> {
  const title = `Model ${name}`;
  try {
    return { title, findings: await withModelTexts(name, findingsOf) };
  } catch (error) {
    const remedy = "give a model's folder, its config.json, or a hub id";
    return {
      title,
      findings: requirementFindings([{ subject: "model", outcome: { failure: messageOf(error), remedy } }]),
    };
  }
}

async function findingsOf(
  { dir, isConfigAlone }: { dir: string; isConfigAlone: boolean },
): Promise<Finding[]> {
  const path = join(dir, "config.json");
  const json = parsedObject(await readConfig(dir), path, "download or copy it again");
  const whole = textPart(json);
  const quantization = quantizationOf(whole);
  // Weights that are dequantized as they are read: the rest is as if they had never been quantized.
  const isRead = quantization?.remedy === null;
  const { quantization_config: _read, ...unquantized } = whole;
  const { findings, model } = configFindings(isRead ? unquantized : whole, path);
  const notes: Finding[] = [
    ...whole === json
      ? []
      : [note("text_config", "the text part alone is used; what sees or hears is left out")],
    ...isRead && model !== null
      ? [note("quantization", `${quantization.method}: becomes bf16 as it is read, and is saved as that`)]
      : [],
  ];
  if (isConfigAlone) return [...findings, ...notes];
  return [...findings, ...notes, ...await tokenizerFindings(dir, model), ...await weightFindings(dir, model)];
}

const note = (subject: string, detail: string): Finding => ({ mark: "note", subject, detail });

/** What kind of tokenizer lies in a folder. */
async function tokenizerKind(dir: string): Promise<string> {
  const path = join(dir, "tokenizer.json");
  const text = await readIfThere(path, "read the tokenizer from");
  if (text === null) return "tokenizer.model";
  const { model } = parsedObject(text, path, TOKENIZER_REMEDY);
  return `tokenizer.json, ${isJsonObject(model) ? model.type ?? "BPE" : "no model"}`;
}

/** Whether the model has a chat template, and one that is read. */
async function templateFinding(tokenizer: Tokenizer): Promise<Finding> {
  const subject = "chat template";
  try {
    const template = await tokenizer.readChatTemplate();
    if (template === null) {
      return note(
        subject,
        "none: prompts are put as plain text, or into the template that the settings name",
      );
    }
    compileChatTemplate(template);
    return { mark: "ok", subject, detail: `of ${template.source}` };
  } catch (error) {
    const outcome = { failure: messageOf(error), remedy: "set chat_template to another one" };
    return requirementFindings([{ subject, outcome }])[0];
  }
}

/** Where the model's completions end, as training would find it. */
async function endsFinding(dir: string, model: ModelConfig, tokenizer: Tokenizer): Promise<Finding> {
  const subject = "ends";
  const left: string[] = [];
  try {
    const ends = await endsOf(dir, model, { tokenizer, events: { onMessage: (text) => left.push(text) } });
    return { mark: "ok", subject, detail: [endsText(ends), ...left].join("; ") };
  } catch (error) {
    const outcome = { failure: messageOf(error), remedy: "correct the file, or set eos_token_ids" };
    return requirementFindings([{ subject, outcome }])[0];
  }
}

async function tokenizerFindings(dir: string, model: ModelConfig | null): Promise<Finding[]> {
  let tokenizer: Tokenizer;
  try {
    tokenizer = await loadTokenizer(dir);
  } catch (error) {
    const outcome = { failure: messageOf(error), remedy: TOKENIZER_REMEDY };
    return requirementFindings([{ subject: "tokenizer", outcome }]);
  }
  const isTooLarge = model !== null && tokenizer.vocabSize > model.vocabSize;
  return [
    isTooLarge
      ? {
        mark: "missing",
        subject: "tokenizer",
        detail: `it knows ${tokenizer.vocabSize} tokens, the model ${model.vocabSize}`,
        remedy: "take tokenizer and config.json from the same model",
      }
      : {
        mark: "ok",
        subject: "tokenizer",
        detail: `${await tokenizerKind(dir)}, ${tokenizer.vocabSize} tokens`,
      },
    ...model === null ? [] : [await endsFinding(dir, model, tokenizer)],
    await templateFinding(tokenizer),
  ];
}

async function weightFindings(dir: string, model: ModelConfig | null): Promise<Finding[]> {
  if (!await hasWeights(dir)) return [note("weights", "none here; what is said above needs none")];
  if (model === null) return [];
  try {
    const { source, close } = await openModelFolder(dir);
    await close();
    const names = [...source.names()];
    const dtypes = [...new Set(names.map((name) => source.dtypeOf(name)))].join(", ");
    const detail = `${names.length} tensors of ${dtypes}, ${formatBytes(source.totalBytes)}`;
    return [{ mark: "ok", subject: "weights", detail }];
  } catch (error) {
    const outcome = { failure: messageOf(error), remedy: "as said above" };
    return requirementFindings([{ subject: "weights", outcome }]);
  }
}
