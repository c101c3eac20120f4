// Requests to a Hugging Face hub: what a refusal means to the user, and retries of what passes by itself.

import { setTimeout as sleep } from "node:timers/promises";

export interface HubAccess {
  /** "https://huggingface.co", or a mirror; without a slash at the end. */
  readonly endpoint: string;
  /** Sent as a bearer token to the endpoint alone, over https or within this machine, never to where it redirects. */
  readonly token?: string;
  /** Tries after the first; 4 unless given. */
  readonly maxRetries?: number;
  /** Wait before the first retry; it doubles with each failure in a row. */
  readonly retryDelayMs?: number;
  /** A server that sends nothing for so long is taken for gone. */
  readonly idleTimeoutMs?: number;
}

/** What is asked for, in words of the user. */
export interface HubSubject {
  /** A model where left out. */
  readonly kind?: "dataset";
  readonly id: string;
  readonly revision: string;
  readonly file?: string;
}

const MAX_RETRIES = 4;
const RETRY_DELAY_MS = 500;
export const IDLE_TIMEOUT_MS = 60_000;

/** A fault that may pass by itself: a cut connection, an overloaded server. */
export class PassingFault extends Error {
  override readonly name = "PassingFault";
  /** Whether bytes arrived before it. */
  readonly progressed: boolean;

  constructor(message: string, options: { progressed?: boolean; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.progressed = options.progressed ?? false;
  }
}

/** Whether nobody between here and the endpoint can read what is sent there. */
function isPrivate(endpoint: string): boolean {
  const { protocol, hostname } = new URL(endpoint);
  return protocol === "https:" || /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

/** Why a request failed; fetch hides it in `cause`. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

/** Runs `attempt` until it succeeds, fails for good, or fails 5 times in a row without a byte of progress. */
export async function retryPassing<R>(access: HubAccess, attempt: () => Promise<R>): Promise<R> {
  for (let failures = 1;; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof PassingFault)) throw error;
      if (error.progressed) failures = 1;
      if (failures > (access.maxRetries ?? MAX_RETRIES)) {
        const times = failures > 1 ? `, ${failures} times in a row` : "";
        throw new Error(
          `${error.message}${times}; check the network and start again: it goes on from ` +
            "there. HF_HUB_OFFLINE=1 uses what the cache holds, HF_ENDPOINT names a mirror",
          { cause: error },
        );
      }
      await sleep((access.retryDelayMs ?? RETRY_DELAY_MS) * 2 ** (failures - 1));
    }
  }
}

/**
 * One GET, redirects followed.
 * @param headers besides authorization, which fetch drops at a redirect to another host
 * @throws PassingFault when it may pass
 * @throws Error when the hub refuses; it says what to do
 */
export async function getFromHub(
  access: HubAccess,
  path: string,
  subject: HubSubject,
  { headers = {}, signal }: { headers?: Record<string, string>; signal: AbortSignal },
): Promise<Response> {
  const url = `${access.endpoint}/${path}`;
  // A compressed answer has other byte positions than the file.
  const all: Record<string, string> = { ...headers, "accept-encoding": "identity" };
  if (access.token !== undefined && isPrivate(access.endpoint)) all.authorization = `Bearer ${access.token}`;
  const response = await fetch(url, { headers: all, signal }).catch((cause) => {
    throw new PassingFault(`${unreachable(access, subject)}: ${reasonOf(cause)}`, { cause });
  });
  if (response.ok) return response;
  await response.body?.cancel();
  throw refusal(response, access, subject);
}

function unreachable({ endpoint }: HubAccess, subject: HubSubject): string {
  // Who mistyped the path of a folder never meant the hub.
  const noFolder = subject.file === undefined && subject.kind === undefined
    ? `, and there is no folder "${subject.id}" here`
    : "";
  return `Cannot reach ${endpoint} for ${nameOf(subject)}${noFolder}`;
}

/** Where a repository is at an endpoint. */
export const pathOf = ({ kind, id }: HubSubject) => kind === "dataset" ? `datasets/${id}` : id;

/** "org/name@revision", and the file where one is meant. */
export function nameOf({ id, revision, file }: HubSubject): string {
  return `${file === undefined ? "" : `${file} of `}"${id}@${revision}"`;
}

function refusal({ status, headers }: Response, access: HubAccess, subject: HubSubject): Error {
  const { id, revision, file } = subject;
  const code = headers.get("x-error-code");
  const failed = `Cannot download ${nameOf(subject)}: ${access.endpoint} answered ${status}`;
  if (status === 408 || status === 429 || status >= 500) return new PassingFault(failed);
  // The hub answers 401 for a name it does not have to those who show no token.
  if (code === "RevisionNotFound") {
    return new Error(`${failed}: "${id}" has no revision "${revision}"; give a branch, tag or commit of it`);
  }
  if (file === undefined && (code === "RepoNotFound" || status === 404)) {
    if (subject.kind === "dataset") {
      return new Error(
        `${failed}: there is no data set "${id}" that you may see; correct the id, or set HF_TOKEN if it is private`,
      );
    }
    return new Error(
      `${failed}: there is no folder "${id}" here and no model "${id}" there that you may see; correct the path ` +
        `or the id, or set HF_TOKEN if the model is private`,
    );
  }
  if (status === 404) return new Error(`${failed}; the hub lists this file but does not have it`);
  if (status === 401 || status === 403) {
    if (access.token !== undefined && !isPrivate(access.endpoint)) {
      return new Error(
        `${failed}: access is restricted, and the token was kept back: it is sent over https:// alone`,
      );
    }
    const token = access.token === undefined ? "set HF_TOKEN to a token" : "take a token in HF_TOKEN";
    return new Error(
      `${failed}: access is restricted; accept its terms at ${access.endpoint}/${
        pathOf(subject)
      } and ${token} of that account ` +
        "with the right to read it",
    );
  }
  return new Error(`${failed}; is HF_ENDPOINT a Hugging Face hub?`);
}
