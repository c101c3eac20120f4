/** What `doctor --model` makes of a config.json: what is supported of it and what is not. Pure. */
import { formatBytes } from "../../config/units.ts";
import { messageOf } from "../../io/files/errors.ts";
import { quantizationOf } from "../../io/model/config_text.ts";
import type { ModelConfig } from "../../policy/families/family.ts";
import { parseModelConfig } from "../../policy/model_config.ts";
import { givesScores, parseScoreConfig } from "../../policy/score_config.ts";
import { parameterShapes } from "../../policy/weights.ts";
import type { RopeScaling } from "../../ops/attention/rope_table.ts";
import type { Finding } from "./diagnosis.ts";

type Json = Readonly<Record<string, unknown>>;

/** A key of config.json that makes the model another than is computed here, and what is said of it. */
interface Refusal {
  key: string;
  message: string;
}

/** How a model is read. */
type Parse = (text: string, path: string) => unknown;

function failureOf(json: Json, path: string, parse: Parse): string | null {
  try {
    parse(JSON.stringify(json), path);
    return null;
  } catch (error) {
    const message = messageOf(error);
    return message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
  }
}

/**
 * What is refused, key by key, found out from the reader itself: a key whose absence lets it get further is at fault.
 * @returns the config without those keys, and what is wrong with it still
 */
export function refusals(json: Json, path: string, parse: Parse) {
  const found: Refusal[] = [];
  let rest = json;
  for (;;) {
    const message = failureOf(rest, path, parse);
    if (message === null) return { rest, found, failure: null };
    const without = (key: string) =>
      Object.fromEntries(Object.entries(rest).filter(([other]) => other !== key));
    const key = Object.keys(rest).find((key) => {
      if (key === "model_type") return false; // without it the reader gets nowhere
      const next = failureOf(without(key), path, parse);
      return next !== message && !next?.includes(key);
    });
    if (key === undefined) return { rest, found, failure: message };
    found.push({ key, message });
    rest = without(key);
  }
}

const ok = (subject: string, detail: string): Finding => ({ mark: "ok", subject, detail });

/** Keys whose refusal says more of a subject than what is left without them. */
const KEYS_OF: Readonly<Record<string, RegExp>> = {
  rope: /rope|rotary/,
  activation: /hidden_act/,
  attention: /attention|layer_types|window/,
  positions: /rope|window|layer_types/,
};

/** What is said of a model's config.json, line by line. @param path named in messages */
export function configFindings(json: Json, path: string): { findings: Finding[]; model: ModelConfig | null } {
  const isScoreModel = givesScores(json);
  const { rest, found, failure } = refusals(json, path, isScoreModel ? parseScoreConfig : parseModelConfig);
  const refused = found.map(({ key, message }): Finding => ({
    mark: "missing",
    subject: key,
    detail: message,
    remedy: key === "quantization_config" ? quantizationRemedy(json) : "choose a model without it",
  }));
  if (failure !== null) {
    const remedy = "choose a model of a supported family, or correct config.json";
    return {
      findings: [...refused, { mark: "missing", subject: "model", detail: failure, remedy }],
      model: null,
    };
  }
  const model = parseModelConfig(JSON.stringify(rest), path);
  const kind = isScoreModel
    ? "score model, for reward_model or cost_model"
    : "language model, for model_name";
  const codeNote: Finding[] = json.auto_map === undefined ? [] : [{
    mark: "note",
    subject: "auto_map",
    detail: "the model brings code of its own, which is not run: it is read as the family says",
  }];
  const findings = [
    ok("family", String(json.model_type)),
    ok("kind", kind),
    ...modelFindings(model, isScoreModel, rest.max_position_embeddings).filter(({ subject }) =>
      !found.some(({ key }) => KEYS_OF[subject]?.test(key))
    ),
    ...codeNote,
    ...refused,
  ];
  return { findings, model };
}

function quantizationRemedy(json: Json): string {
  return quantizationOf(json)?.remedy ?? "load it with transformers, dequantize and save_pretrained() it";
}

const counted = (count: number) =>
  count >= 1e9
    ? `${(count / 1e9).toFixed(2)}B`
    : count >= 1e6
    ? `${(count / 1e6).toFixed(1)}M`
    : String(count);

function modelFindings(model: ModelConfig, isScoreModel: boolean, declaredPositions: unknown): Finding[] {
  const { layers, hiddenSize, heads, kvHeads, headDim, intermediateSize, vocabSize } = model;
  const otherHead = isScoreModel ? model.layout.head : model.layout.scoreHead.weight;
  const parameters = [...parameterShapes(model)].filter(([name]) => name !== otherHead)
    .reduce((sum, [, shape]) => sum + shape.reduce((size, n) => size * n, 1), 0);
  const tied = model.tiedEmbeddings ? ", head tied to the embedding" : "";
  return [
    ok("size", `${counted(parameters)} parameters, ${formatBytes(2 * parameters)} in 16 bits${tied}`),
    ok("layers", `${layers} of width ${hiddenSize}, MLP ${intermediateSize}, vocabulary ${vocabSize}`),
    ok("attention", `${heads} heads of ${headDim}, ${kvHeads} for keys and values${windowsOf(model)}`),
    ok("positions", positionsOf(model, declaredPositions)),
    ok("rope", ropesOf(model)),
    ok("activation", model.activation),
    ok("biases", biasesOf(model)),
  ];
}

/** How long a sequence may be. @param declared max_position_embeddings of config.json */
function positionsOf({ maxPositions }: ModelConfig, declared: unknown): string {
  const more = typeof declared === "number" && declared > maxPositions
    ? `, not config.json's ${declared}: for longer ones its rope is another`
    : "";
  return `up to ${maxPositions} tokens${more}`;
}

/** Layers that see less than a whole sequence. */
function windowsOf({ layerKinds, maxPositions }: ModelConfig): string {
  const windows = layerKinds.flatMap(({ window }) =>
    window === null || window >= maxPositions ? [] : [window]
  );
  if (windows.length === 0) return "";
  const which = windows.length === layerKinds.length
    ? "every layer sees"
    : `${windows.length} of ${layerKinds.length} layers see`;
  return `; ${which} ${windows[0]} tokens back`;
}

function scalingOf(scaling: RopeScaling | undefined): string {
  if (!scaling) return "plain";
  return "factor" in scaling ? `${scaling.type}, factor ${scaling.factor}` : scaling.type;
}

function ropesOf(
  { ropeTheta, ropeScaling, rotatedDim, headDim, localRope, layerKinds }: ModelConfig,
): string {
  const part = rotatedDim === headDim ? "" : `, over ${rotatedDim} of ${headDim}`;
  const local = localRope ? `; sliding layers ${scalingOf(localRope.scaling)}, base ${localRope.theta}` : "";
  const unturned = layerKinds.filter(({ rope }) => rope === null).length;
  const without = unturned === 0 ? "" : `; none in ${unturned} of ${layerKinds.length} layers`;
  return `${scalingOf(ropeScaling)}, base ${ropeTheta}${part}${local}${without}`;
}

function biasesOf({ biases: { qkv, output, mlp }, headNorms }: ModelConfig): string {
  const places = [...qkv ? ["q, k, v"] : [], ...output ? ["o"] : [], ...mlp ? ["MLP"] : []];
  return `${places.length > 0 ? `of ${places.join(", ")}` : "none"}${
    headNorms ? "; q and k are normed" : ""
  }`;
}
