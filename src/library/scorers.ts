/** Scorers to give to `train` and `evaluate`, and the service of score models. */
import type { ScorerModels } from "../assembly/score_models.ts";
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
  /** Folders or hub ids. */
  rewardModel: string;
  costModel: string;
  /** Labels of classifiers, by place or name: reward_label and cost_label. Default null: the only one. */
  rewardLabel?: ScorerModels["rewardLabel"];
  costLabel?: ScorerModels["costLabel"];
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
 * @throws RangeError when other machines could ask, and there is neither a token nor `insecure`
 * @throws Error when a model does not fit, the port is taken or the address is not this machine's
 */
export async function serveScorer(
  { rewardModel, costModel, rewardLabel, costLabel, maxLength = 512, ...service }: ServeOptions,
): Promise<RunningScorer> {
  const models = { reward: rewardModel, cost: costModel, rewardLabel, costLabel, maxLength };
  return await serveToOthers(models, service);
}
