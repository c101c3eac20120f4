/** Scorers to give to `train` and `evaluate`, and the service of score models. */
import type { CostModel, ScorerModels } from "../assembly/score_models.ts";
import { serveToOthers } from "../assembly/scorer_service.ts";
import { createScorerClient, type ScorerClient, type ScorerClientOptions } from "../scorer/client.ts";
import type { RunningScorer } from "../scorer/serve.ts";

/**
 * A scorer behind HTTP, which speaks Beaver's contract (src/scorer/protocol.ts) or that of another server (`api`).
 * @throws TypeError when the URL is unusable
 * @throws RangeError when an option is out of range
 */
export function httpScorer(url: string, options: Omit<ScorerClientOptions, "url"> = {}): ScorerClient {
  return createScorerClient({ ...options, url });
}

export interface ServeOptions {
  /** A folder or a hub id. */
  rewardModel: string;
  /** The same; of several costs, one for each by its name. */
  costModel: string | Readonly<Record<string, string | Pick<CostModel, "model" | "label">>>;
  /** Labels of classifiers, by place or name: reward_label and cost_label. Default null: the only one. */
  rewardLabel?: ScorerModels["rewardLabel"];
  /** Of a cost model alone. */
  costLabel?: CostModel["label"];
  /** Tokens of a conversation that are read. Default 512. */
  maxLength?: number;
  /** Default 0: a free one. */
  port?: number;
  /** Address to listen on. Default 127.0.0.1: only this machine. */
  hostname?: string;
  /** What clients must send as their bearer token. Another address than this machine's own needs one. */
  token?: string;
  /** Other machines may ask without a token. Default false. */
  insecure?: boolean;
}

/**
 * Serves a reward and a cost model over HTTP to other processes, as the command `scorer` does. A run in this process
 * names them in its config instead: it then counts their memory, and asks them when no completion is being sampled.
 * @throws RangeError when there is no cost model, or other machines could ask, and there is neither a token nor
 *   `insecure`
 * @throws Error when a model does not fit, the port is taken or the address is not this machine's
 */
export async function serveScorer(
  { rewardModel, costModel, rewardLabel, costLabel, maxLength = 512, ...service }: ServeOptions,
): Promise<RunningScorer> {
  const costs = typeof costModel === "string"
    ? [{ name: null, model: costModel, label: costLabel }]
    : Object.entries(costModel).map(([name, one]) => ({
      name,
      ...(typeof one === "string" ? { model: one } : one),
    }));
  if (costs.length === 0) throw new RangeError("serveScorer() needs a cost model, got none in costModel");
  return await serveToOthers({ reward: rewardModel, rewardLabel, costs, maxLength }, service);
}
