/** The services that can be asked: each is a file of this folder and an entry here. */
import type { ScorerApiName } from "../../config/scorer_apis.ts";
import type { ScorerApi } from "./api.ts";
import { BEAVER } from "./beaver.ts";
import { OPENRLHF } from "./openrlhf.ts";
import { TEI_PREDICT } from "./tei_predict.ts";
import { VLLM_CLASSIFY } from "./vllm_classify.ts";

export const SCORER_APIS: Readonly<Record<ScorerApiName, ScorerApi>> = {
  beaver: BEAVER,
  openrlhf: OPENRLHF,
  vllm_classify: VLLM_CLASSIFY,
  tei_predict: TEI_PREDICT,
};
