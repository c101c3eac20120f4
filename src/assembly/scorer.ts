/** The scorer of a run: a service elsewhere, the same service in this process on loopback, or functions. */
import type { RunConfig } from "../config/sweep.ts";
import { createScorerClient } from "../scorer/client.ts";
import { combineScorers } from "../scorer/functions.ts";
import type { Scorer } from "../scorer/protocol.ts";
import { type RunningScorer, serveScorer, type ServeScorerOptions } from "../scorer/serve.ts";
import { resolveScorerUrl } from "../scorer/url.ts";
import type { AssemblyEvents, LoadingEvents } from "./events.ts";
import { type JudgesConfig, openFunctionScorer, servesScoreModels } from "./judges.ts";
import { loadScorers, type ScorerModels } from "./score_models.ts";

export interface OpenScorer {
  scorer: Scorer;
  close(): Promise<void>;
}

export interface ScorerOptions {
  /** What a service in this process says of itself. */
  device: string;
  /** From outside: judges beside the functions and the service that the settings name. Its owner closes it. */
  scorer?: Scorer;
  events?: AssemblyEvents;
}

type ScorerConfig =
  & JudgesConfig
  & Pick<
    RunConfig,
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
 * All that judges a run as one scorer: the service at `scorer_url`, the functions of the settings, and a scorer that is
 * given; where there are none of these, reward_model and cost_model, served in this process. Several add up.
 * @throws ScorerUnavailableError when nothing healthy answers at `scorer_url`
 * @throws Error when a function cannot be loaded
 */
export async function openScorer(config: ScorerConfig, options: ScorerOptions): Promise<OpenScorer> {
  const parts = [await openFunctionScorer(config), options.scorer].filter((part) => part !== undefined);
  const hasService = config.scorer_url !== null || servesScoreModels(config, options.scorer);
  const service = hasService ? await openService(config, options) : null;
  if (service) parts.unshift(service.scorer);
  return {
    scorer: parts.length === 1 ? parts[0] : combineScorers(parts),
    close: async () => await service?.close(),
  };
}

/** Connects to `scorer_url`, or serves the score models when it is null, and asks for its health. */
async function openService(
  config: ScorerConfig,
  { device, events = {} }: ScorerOptions,
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
  const client = createScorerClient({
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
    await client.checkHealth();
  } catch (error) {
    await close();
    throw error;
  }
  return { scorer: { ...client, sharesGpu: service !== null }, close };
}
