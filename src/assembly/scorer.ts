/** The scorer of a run: a service elsewhere, the same service in this process on loopback, or functions. */
import { constraintsOf, namedRewardsOf } from "../config/constraints.ts";
import { scorerAddresses } from "../config/scorer_addresses.ts";
import type { Config } from "../config/schema.ts";
import { boundedScorer } from "../scorer/bounds.ts";
import { scorerByName, type WantedScores } from "../scorer/by_name.ts";
import { createScorerClient, type ScorerClientOptions } from "../scorer/client.ts";
import { ScorerUnavailableError } from "../scorer/errors.ts";
import { combineScorers, splitScorer } from "../scorer/functions.ts";
import { journalled } from "../scorer/journalled.ts";
import type { ScoreKind, Scorer } from "../scorer/protocol.ts";
import { type RunningScorer, serveScorer, type ServeScorerOptions } from "../scorer/serve.ts";
import { fileOf } from "../scorer/url.ts";
import type { AssemblyEvents, LoadingEvents } from "./events.ts";
import { costModelsOf, openFunctionScorer, servesScoreModels } from "./judges.ts";
import { outageLines } from "./outage.ts";
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
  /** Ends the wait for a service. */
  signal?: AbortSignal;
  /** Of this process, which says whom of several services it asks first. Default 0. */
  rank?: number;
}

/** Settings, whatever the KL term weighs. */
type ScorerConfig = Omit<Config, "beta">;

/**
 * Loads reward and cost models and serves them; `close` frees them too.
 * @throws Error when a model does not fit, the port is taken or the address is not this machine's
 */
async function serveScoreModels(
  wanted: ScorerModels,
  service: Omit<ServeScorerOptions, "scoreTexts" | "wants">,
  events: LoadingEvents = {},
): Promise<RunningScorer> {
  const { scoreTexts, wants, dispose } = await loadScorers(wanted, events);
  const { url, close } = await serveScorer({ scoreTexts, wants, maxLength: wanted.maxLength, ...service });
  return {
    url,
    async close() {
      await close();
      dispose();
    },
  };
}

/**
 * All that judges a run as one scorer: the service at `scorer_url` (and `cost_scorer_url`), the functions of the
 * settings, and a scorer that is given; where there are none of these, reward_model and cost_model, served in this
 * process. Several add up.
 * @throws ScorerUnavailableError when nothing healthy answers at `scorer_url`
 * @throws the signal's reason when it is aborted
 * @throws Error when a function cannot be loaded
 */
export async function openScorer(config: ScorerConfig, options: ScorerOptions): Promise<OpenScorer> {
  const parts = [await openFunctionScorer(config), options.scorer].filter((part) => part !== undefined);
  const hasService = config.scorer_url !== null || servesScoreModels(config, options.scorer);
  const service = hasService ? await openService(config, options) : null;
  if (service) parts.unshift(journalled(service.scorer, whoAnswers(config)));
  const scorer = parts.length === 1 ? parts[0] : combineScorers(parts);
  const wanted = wantedScores(config);
  const named = (["rewards", "costs"] as const).flatMap((kind) =>
    wanted[kind]?.map(({ name }) => `${kind}/${name}`) ?? []
  );
  return {
    scorer: boundedScorer(scorerByName(scorer, wanted), config.scorer_max_abs_score, named),
    close: async () => await service?.close(),
  };
}

/**
 * openScorer() in two parts, for a run that has yet to load its policy. A service at an address and functions are
 * opened at once, so that a wrong address is said before gigabytes have been read; addresses in files may be written
 * while the policy loads, and score models are loaded behind it.
 * @returns what gives the scorer once the policy is there and the settings name the commits of their models
 * @throws ScorerUnavailableError when nothing healthy answers at `scorer_url`, which is no file
 * @throws Error when a function cannot be loaded
 */
export async function beginScorer(
  config: ScorerConfig,
  options: ScorerOptions,
): Promise<(pinned: ScorerConfig) => Promise<OpenScorer>> {
  const isInFile = [config.scorer_url, config.cost_scorer_url].some((urls) =>
    urls !== null && scorerAddresses(urls).every((address) => fileOf(address) !== null)
  );
  if (isInFile || servesScoreModels(config, options.scorer)) return (pinned) => openScorer(pinned, options);
  const opened = await openScorer(config, options);
  return () => Promise.resolve(opened);
}

/** Which scores the settings ask for by name. */
function wantedScores(config: ScorerConfig): WantedScores {
  const costs = config.costs &&
    constraintsOf(config).map(({ name, field }) => ({ name: name!, field: field! }));
  // Score models of this process give their costs under the names of the settings.
  const own = servesScoreModels(config) && costs?.map(({ name }) => ({ name, field: name }));
  return { rewards: namedRewardsOf(config), costs: own || costs };
}

/** The settings that say whose scores they are; functions judge in no time and may have been mended: asked again. */
function whoAnswers(config: ScorerConfig) {
  const { scorer_url, cost_scorer_url, reward_model, reward_label, cost_label } = config;
  const { scorer_api, scorer_route, scorer_input, scorer_label_key, scorer_max_length } = config;
  const services = { scorer_url, cost_scorer_url, scorer_api, scorer_route, scorer_input, scorer_label_key };
  return {
    ...services,
    reward_label,
    cost_label,
    ...(scorer_url === null && { reward_model, ...costJudges(config), scorer_max_length }),
  };
}

/** What gives the costs, where score models do. */
const costJudges = (config: ScorerConfig) =>
  config.costs === null ? { cost_model: config.cost_model } : { costs: costModelsOf(config) };

/** Connects to `scorer_url`, or serves the score models when it is null, and asks for its health. */
async function openService(
  config: ScorerConfig,
  { device, events = {}, signal, rank = 0 }: ScorerOptions,
): Promise<OpenScorer> {
  if (config.scorer_url !== null) {
    const scorer = await connectAll(config, config.scorer_url, rank, { events, signal });
    return { scorer, close: () => Promise.resolve() };
  }
  const models = {
    reward: config.reward_model,
    rewardLabel: config.reward_label,
    costs: costModelsOf(config),
    maxLength: config.scorer_max_length,
  };
  let fault: Error | null = null;
  const limits = { maxItems: Infinity, maxQueueTokens: Infinity };
  const served = { device, ...limits, onError: (error: Error) => void (fault = error) };
  const service = await serveScoreModels(models, served, events);
  try {
    const own = { retryMaxMs: 0, token: null, named: ["costs"] as const };
    const scorer = await connect(service.url, config, own, { events, signal });
    const score: Scorer["score"] = (...asked) =>
      scorer.score(...asked).catch((error) => {
        // What fails in this process is told as it is, and not as a service that cannot be reached.
        throw error instanceof ScorerUnavailableError && fault !== null ? fault : error;
      });
    return { scorer: { ...scorer, score, sharesGpu: true }, close: service.close };
  } catch (error) {
    await service.close();
    throw error;
  }
}

/** Who is told meanwhile, and may end it. */
interface Watch {
  events: AssemblyEvents;
  signal?: AbortSignal;
}

/** The services of the rewards, and of the costs where those are others. */
async function connectAll(
  config: ScorerConfig,
  scorerUrl: string,
  rank: number,
  watch: Watch,
): Promise<Scorer> {
  const spoken = {
    api: config.scorer_api,
    route: config.scorer_route,
    input: config.scorer_input,
    rewardLabel: config.reward_label ?? undefined,
    costLabel: config.cost_label ?? undefined,
    labelKey: config.scorer_label_key ?? undefined,
    tokenFile: config.scorer_token_file ?? undefined,
    named: (["rewards", "costs"] as const).filter((kind) => config[kind] !== null),
    rank,
  };
  if (config.cost_scorer_url === null) return await connect(scorerUrl, config, spoken, watch);
  const ofKind = (url: string, kind: ScoreKind) => connect(url, config, { ...spoken, kinds: [kind] }, watch);
  return splitScorer({
    rewards: await ofKind(scorerUrl, "rewards"),
    costs: await ofKind(config.cost_scorer_url, "costs"),
  });
}

/** A client of services, one of which is healthy. @param urls as in scorer_url */
async function connect(
  urls: string,
  config: ScorerConfig,
  spoken: Partial<ScorerClientOptions>,
  { events, signal }: Watch,
): Promise<Scorer> {
  const print = (text: string) => events.onMessage?.(text);
  let isCutTold = false;
  const scorer = createScorerClient({
    url: urls,
    timeoutMs: Math.max(1, Math.round(config.scorer_timeout * 1000)),
    retryMaxMs: Math.round(config.scorer_retry_max_s * 1000),
    batchSize: config.scorer_batch_size,
    maxAbsScore: config.scorer_max_abs_score,
    ...outageLines(print),
    onNotice: (text) => print(`Note: ${text}`),
    onCut(cut, of) {
      if (!isCutTold) print(cutNotice(cut, of));
      isCutTold = true;
    },
    ...spoken,
  });
  await scorer.checkHealth({ signal });
  return scorer;
}

const cutNotice = (cut: number, of: number) =>
  `Note: the scorer read ${cut} of ${of} conversations only up to its limit of tokens: answers that differ behind it ` +
  "get the same score. Raise its --max_length (in this process: scorer_max_length), or lower " +
  "max_completion_length or max_prompt_length; scorer/cut_fraction in metrics.jsonl says how many";
