/** Reward and cost model as a service for other processes. */
import { openGpu } from "../gpu/device.ts";
import type { RefusedRequest } from "../scorer/server.ts";
import type { RunningScorer, ServeScorerOptions } from "../scorer/serve.ts";
import { type FrontedScorer, serveScorerApart } from "../scorer/service/front.ts";
import type { LoadingEvents } from "./events.ts";
import { loadScorers, type ScorerModels } from "./score_models.ts";

export interface ServiceEvents extends LoadingEvents {
  onRefusal?: (refusal: RefusedRequest) => void;
  /** Told how many conversations of a request were longer than is read. */
  onCut?: (conversations: number) => void;
}

/** Scored at once, of both models: enough to fill a large GPU. */
const BATCH_TOKENS = 16_384;

export interface ScorerService extends RunningScorer, Pick<FrontedScorer, "failed"> {}

/**
 * Loads reward and cost model and serves them; `close` frees them too.
 * @throws RangeError when other machines could ask, and there is neither a token nor `insecure`
 * @throws Error when a model does not fit, the port is taken or the address is not this machine's
 */
export async function serveToOthers(
  wanted: ScorerModels,
  service: Pick<ServeScorerOptions, "port" | "hostname" | "token" | "insecure" | "maxQueueTokens">,
  { onRefusal, onCut, ...loading }: ServiceEvents = {},
): Promise<ScorerService> {
  const { info, memory } = await openGpu();
  let report: FrontedScorer["report"] = () => {};
  const { scoreTexts, wants, dispose } = await loadScorers(wanted, loading, {
    batchTokens: BATCH_TOKENS,
    onBatch: (batch) => report({ ...batch, gpuBytes: memory().liveBytes }),
  });
  const { maxLength } = wanted;
  const front = await serveScorerApart({
    ...service,
    scoreTexts,
    wants,
    maxLength,
    device: info.name,
    onRefusal,
    onCut,
  });
  const { url, failed, close } = front;
  report = front.report;
  return {
    url,
    failed,
    async close() {
      await close();
      dispose();
    },
  };
}
