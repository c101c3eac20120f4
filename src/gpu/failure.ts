/**
 * What the GPU failed of. WebGPU turns invalid work into silent zeros and tells of it later, by an event, so the first
 * failure is remembered here, and every read-back asks before it trusts what it read. The message says what the run was
 * at and which work the GPU had been given last: what failed is that, or was queued shortly before.
 */

/** What a run is at. */
export type Phase =
  | "loading"
  | "sampling completions"
  | "the passes of the reference policy"
  | "scoring"
  | "the update"
  | "saving"
  | "the evaluation";

export type GpuFault = "lost" | "out of memory" | "rejected";

/** The GPU cannot go on: nothing that was computed on it since is to be believed, and nothing can be read from it. */
export class GpuError extends Error {
  override readonly name = "GpuError";
  readonly fault: GpuFault;
  /** null: outside of a run. */
  readonly phase: Phase | null;

  constructor(fault: GpuFault, phase: Phase | null, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
    this.phase = phase;
  }
}

interface Work {
  phase: Phase | null;
  describe(): string;
}

const NO_MEMORY = /out.?of.?(\w+.?)?memory|not enough memory|memory.?allocation|failed to allocate/i;
const REMEDY: Record<GpuFault, string> = {
  lost: "Its driver or the card itself has failed (`nvidia-smi`, `dmesg` say more)",
  "out of memory":
    "Free what other programs hold of its memory (`nvidia-smi` names them), or take less at a time",
  rejected: "This is a fault of the program or of the GPU's driver: report it with this message",
};

let phase: Phase | null = null;
let work: Work | null = null;
let asked: (() => string) | null = null;
let failure: GpuError | null = null;

/** Says what the run is at from now on. */
export function enterPhase(next: Phase | null): void {
  phase = next;
}

/** Says what the GPU was given to do. @param describe called only where something fails */
export function noteWork(describe: () => string): void {
  work = { phase, describe };
}

/** Says what memory was asked for. @param describe as of noteWork */
export function noteMemory(describe: () => string): void {
  asked = describe;
}

/** A kernel and the tensors that it was given, for messages: matmul [4,8] [8,16]. */
export function kernelText(kernel: string, shapes: readonly (readonly number[])[]): string {
  return [kernel, ...shapes.map((shape) => `[${shape}]`)].join(" ");
}

function placeText(fault: GpuFault): string {
  const at = work?.phase ?? phase;
  const parts = [
    at && (phase === at || phase === null ? `in ${at}` : `in ${at}, with ${phase} under way`),
    work && `the last work it was given: ${work.describe()}`,
    fault === "out of memory" && asked && `the last memory asked for: ${asked()}`,
  ].filter(Boolean);
  return parts.length === 0 ? "" : ` (${parts.join("; ")})`;
}

function messageOf(fault: GpuFault, said: string): string {
  const what = {
    lost: "The GPU device was lost",
    "out of memory": "The GPU is out of memory",
    rejected: "The GPU rejected work, so every later number would be wrong",
  }[fault];
  return `${what}${placeText(fault)}: ${said.trim() || "the driver gives no reason"}. ${REMEDY[fault]}`;
}

function errorOf(fault: GpuFault, said: string, cause?: unknown): GpuError {
  const known: GpuFault = NO_MEMORY.test(said) ? "out of memory" : fault;
  return new GpuError(known, work?.phase ?? phase, messageOf(known, said), { cause });
}

/**
 * Remembers what the GPU refused, for the next read-back to tell: the first failure, or the cause of it.
 * @param said the driver's words
 * @param isCause what is known already followed from this, which was heard of later
 */
export function reportGpuFailure(said: string, fault: GpuFault = "rejected", isCause = false): void {
  if (failure && !isCause) return;
  failure = errorOf(fault, said);
  for (const tell of waiting) tell(failure);
}

/** Of those who wait for something else meanwhile. */
const waiting = new Set<(failure: GpuError) => void>();

/**
 * What `work`, which is not of the GPU, comes to; no longer waited for once the GPU has failed.
 * @throws GpuError when it does
 */
export async function unlessGpuFails<R>(work: Promise<R>): Promise<R> {
  let tell: (failure: GpuError) => void = () => {};
  const failed = new Promise<never>((_, reject) => waiting.add(tell = reject));
  try {
    return await Promise.race([work, failed]);
  } finally {
    waiting.delete(tell);
  }
}

/** @throws GpuError when the device has reported an error since it was opened */
export function assertGpuHealthy(): void {
  if (failure) throw failure;
}

/** Forgets the failure of a device that is gone: another is being opened. */
export function forgetGpuFailure(): void {
  failure =
    work =
    phase =
    asked =
      null;
}

/**
 * What a call of WebGPU failed of: the failure that was reported of the device, or what the call says itself, which
 * is a failure then.
 * @param known what kind of failure it is, where the caller knows
 */
export function gpuErrorOf(error: unknown, known?: GpuFault): GpuError {
  if (error instanceof GpuError) return error;
  const { name = "", message = String(error) } = error instanceof Error || error instanceof DOMException
    ? error
    : {};
  // A read-back that a lost device gives up is an AbortError, and its buffers are invalid.
  const isLost = /lost|destroyed|label is invalid/i.test(message) || name === "AbortError";
  return failure ??= errorOf(known ?? (isLost ? "lost" : "rejected"), message || name, error);
}
