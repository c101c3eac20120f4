/** Scorers to give to `train` and `evaluate`, and the service of score models. */
import type { ScorerModels } from "../assembly/score_models.ts";
import { serveScoreModels } from "../assembly/scorer.ts";
import { openGpu } from "../gpu/device.ts";
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
}

/**
 * Serves a reward and a cost model over HTTP to other processes, as the command `scorer` does. A run in this process
 * names them in its config instead: it then counts their memory, and asks them when no completion is being sampled.
 * @throws Error when a model does not fit, the port is taken or the address is not this machine's
 */
export async function serveScorer(
  { rewardModel, costModel, rewardLabel, costLabel, maxLength = 512, port, hostname }: ServeOptions,
): Promise<RunningScorer> {
  const { info } = await openGpu();
  const models = { reward: rewardModel, cost: costModel, rewardLabel, costLabel, maxLength };
  return await serveScoreModels(models, { device: info.name, port, hostname });
}
