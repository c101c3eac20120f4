/** The services that a run may ask, as its addresses name them now, each with the token that it is asked with. */
import { scorerAddresses } from "../config/scorer_addresses.ts";
import { parseToken, readTokenFile, TOKEN_VARIABLE, tokenFileBeside } from "./token.ts";
import { fileOf, parseScorerUrl, scorerUrlsAt, waitForScorers, type WaitForUrlOptions } from "./url.ts";

export interface Service {
  url: string;
  token: string | null;
}

export interface ServicesOptions {
  /** File of the token of services whose address has none beside it. */
  tokenFile?: string;
  /** The token itself, in the place of the environment's; null: none is sent. */
  token?: string | null;
  /** Told once of a token that other users may read. */
  onNotice?: (text: string) => void;
}

export interface Services {
  /** As settings name them. */
  readonly addresses: readonly string[];
  /** In the order of the addresses; each URL once. Files are read again at each call. */
  read(): Promise<Service[]>;
  /** The same, once there is one. */
  wait(options: WaitForUrlOptions): Promise<Service[]>;
}

/**
 * @param text addresses with commas between: URLs, or file:PATH of files that will hold some
 * @throws TypeError when a URL or the token of the environment is unusable
 */
export function scorerServices(text: string, options: ServicesOptions = {}): Services {
  const addresses = scorerAddresses(text).map((one) => fileOf(one) === null ? parseScorerUrl(one) : one);
  const told = new Set<string>();
  const onNotice = (notice: string) => {
    if (!told.has(notice)) options.onNotice?.(notice);
    told.add(notice);
  };
  const ofEnvironment = process.env[TOKEN_VARIABLE];
  const given = options.token ?? (options.token === null ? undefined : ofEnvironment || undefined);
  const own = given === undefined
    ? null
    : parseToken(given, options.token ? "token" : `${TOKEN_VARIABLE} of the environment`);

  async function tokenOf(address: string): Promise<string | null> {
    if (options.token !== undefined) return own;
    const urlFile = fileOf(address);
    const beside = urlFile === null ? null : await readTokenFile(tokenFileBeside(urlFile), onNotice);
    if (beside !== null) return beside;
    if (options.tokenFile === undefined) return own;
    const ofFile = await readTokenFile(options.tokenFile, onNotice);
    if (ofFile !== null) return ofFile;
    throw new Error(
      `scorer_token_file is "${options.tokenFile}", where there is no file: need one that holds the scorer's token; ` +
        "write it there, or correct the path",
    );
  }

  async function read(): Promise<Service[]> {
    const services = new Map<string, Service>();
    for (const address of addresses) {
      const urls = await scorerUrlsAt(address);
      if (urls.length === 0) continue;
      const token = await tokenOf(address);
      for (const url of urls) if (!services.has(url)) services.set(url, { url, token });
    }
    return [...services.values()];
  }

  const files = addresses.map(fileOf).filter((path) => path !== null);
  return { addresses, read, wait: (waiting) => waitForScorers(files, read, waiting) };
}
