/** Phi-3, 3.5 and 4: a Llama with fused matrices, whose attention may slide and whose rope may turn a part of heads. */
import { shortJson } from "../../config/parsed_json.ts";
import { refuse } from "./config_values.ts";
import type { Family } from "./family.ts";
import { slidingEverywhere } from "./layer_kinds.ts";
import { PHI3_LAYOUT } from "./layout.ts";

export const PHI3: Family = {
  modelType: "phi3",
  defaults: { kvHeads: null, headDim: null, maxPositions: 4096, rmsNormEps: 1e-5 },
  biases: () => ({ qkv: false, output: false, mlp: false }),
  headNorms: false,
  isPartlyRotated: true,
  layerKinds: slidingEverywhere(null),
  arithmetic(json, path) {
    for (const key of ["resid_pdrop", "embd_pdrop"]) {
      if (json[key]) refuse(path, `${key} ${shortJson(json[key])}`, "0");
    }
    return {};
  },
  layout: PHI3_LAYOUT,
};
