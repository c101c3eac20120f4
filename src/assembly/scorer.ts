/** The scorer of a run: a service elsewhere, or the same service in this process on loopback. */
import type { RunConfig } from "../config/sweep.ts";
import { createScorerClient, type ScorerClient } from "../scorer/client.ts";
import { type RunningScorer, serveScorer, type ServeScorerOptions } from "../scorer/serve.ts";
import { resolveScorerUrl } from "../scorer/url.ts";
import type { AssemblyEvents, LoadingEvents } from "./events.ts";
import { loadScorers, type ScorerModels } from "./score_models.ts";

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
 * Loads reward and cost model and serves them; `close` frees them too.
 * @throws Error when a model does not fit, the port is taken or the address is not this machine's
 */
export async function serveScoreModels(
  wanted: ScorerModels,
  service: Omit<ServeScorerOptions, "scoreTexts">,
  events: LoadingEvents = {},
): Promise<RunningScorer> {
  const models = await loadScorers(wanted, events);
  const { url, close } = await serveScorer({ scoreTexts: models.scoreTexts, ...service });
  return {
    url,
    async close() {
      await close();
      models.dispose();
    },
  };
}

/**
 * Connects to `scorer_url`, or serves reward_model and cost_model in this process when it is null, and asks for
 * its health.
 * @param device what the service says of itself where it is in this process
 * @throws ScorerUnavailableError when nothing healthy answers
 */
export async function openScorer(
  config: ScorerConfig,
  { device, events = {} }: { device: string; events?: AssemblyEvents },
): Promise<OpenScorer> {
  const print = (text: string) => events.onMessage?.(text);
  const models = {
    reward: config.reward_model,
    cost: config.cost_model,
    maxLength: config.scorer_max_length,
  };
  const service = config.scorer_url === null
    ? await serveScoreModels(models, { device, maxItems: Infinity }, events)
    : null;
  const close = async () => await service?.close();
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
        `Scorer: attempt ${attempt} of ${maxRetries + 1} failed (${error.message}); ` +
          `next in ${Math.round(delayMs)} ms`,
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
