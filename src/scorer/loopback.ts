/**
 * Requests to this machine itself, which no proxy of the environment may see: it could not reach them, and would be
 * handed prompts and completions. Node's fetch asks no proxy with a dispatcher of ours; Deno's asks HTTP_PROXY,
 * HTTPS_PROXY and ALL_PROXY, but for a client that was made while NO_PROXY named the host.
 */

/** The part of Deno that is used here. */
interface DenoHttp {
  createHttpClient(options: object): object;
}

const LOOPBACK = /^(?:localhost|.*\.localhost|127(?:\.\d+){3}|\[::1\])$/i;

/** What Deno's clients read as the hosts that no proxy is asked for. */
const NO_PROXY_NAMES = ["NO_PROXY", "no_proxy"] as const;

/** Whether a URL leads to this machine itself. */
const isLoopback = (url: string): boolean => LOOPBACK.test(new URL(url).hostname);

/** By host; each holds connections open. */
const clients = new Map<string, object>();

/** The Deno client that reaches a host without a proxy; undefined in Node, and for hosts elsewhere. */
export function directClient(url: string): object | undefined {
  const { Deno: deno } = globalThis as { Deno?: DenoHttp };
  if (!deno || !isLoopback(url)) return undefined;
  const { hostname } = new URL(url);
  const known = clients.get(hostname);
  if (known) return known;
  const before = NO_PROXY_NAMES.map((name) => process.env[name]);
  for (const name of NO_PROXY_NAMES) process.env[name] = `${hostname},${hostname.replace(/[[\]]/g, "")}`;
  try {
    const client = deno.createHttpClient({});
    clients.set(hostname, client);
    return client;
  } finally {
    NO_PROXY_NAMES.forEach((name, i) => {
      if (before[i] === undefined) delete process.env[name];
      else process.env[name] = before[i];
    });
  }
}
