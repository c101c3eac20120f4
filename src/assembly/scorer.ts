/** The scorer of a run: a service elsewhere, or the same service in this process on loopback. */
import type { RunConfig } from "../config/sweep.ts";
import { createScorerClient, type ScorerClient } from "../scorer/client.ts";
import { serveScorer } from "../scorer/serve.ts";
import { resolveScorerUrl } from "../scorer/url.ts";
import { loadScorers } from "./models.ts";

export interface OpenScorer {
  scorer: ScorerClient;
  close(): Promise<void>;
}

type ScorerConfig = Pick<
  RunConfig,
  | "scorer_url"
  | "reward_model"
  | "cost_model"
  | "scorer_max_length"
  | "scorer_timeout"
  | "scorer_max_retries"
  | "scorer_batch_size"
>;

/**
 * Connects to `scorer_url`, or serves reward_model and cost_model in this process when it is null, and asks for
 * its health.
 * @throws ScorerUnavailableError when nothing healthy answers
 */
export async function openScorer(
  config: ScorerConfig,
  device: string,
  print: (text: string) => void,
): Promise<OpenScorer> {
  const models = config.scorer_url === null
    ? await loadScorers(config.reward_model, config.cost_model, config.scorer_max_length)
    : null;
  const service = models && await serveScorer({ scoreTexts: models.scoreTexts, device, maxItems: Infinity });
  const close = async () => {
    await service?.close();
    models?.dispose();
  };
  const url = service?.url ??
    await resolveScorerUrl(config.scorer_url!, {
      onWait: (path) => print(`Waiting for the scorer's address in ${path} ...`),
    });
  const scorer = createScorerClient({
    url,
    timeoutMs: Math.max(1, Math.round(config.scorer_timeout * 1000)),
    maxRetries: config.scorer_max_retries,
    batchSize: config.scorer_batch_size,
    onRetry: ({ attempt, maxRetries, delayMs, error }) =>
      print(
        `Scorer: attempt ${attempt} of ${maxRetries + 1} failed (${error.message}); next in ${
          Math.round(delayMs)
        } ms`,
      ),
  });
  try {
    await scorer.checkHealth();
  } catch (error) {
    await close();
    throw error;
  }
  return { scorer, close };
}
