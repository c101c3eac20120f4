/** Who may ask a scorer service: all on this machine's loopback, elsewhere those who know its token. */
import { createHash, timingSafeEqual } from "node:crypto";
import { isIPv4 } from "node:net";
import { Refusal } from "./refusal.ts";

/** Whether nobody on another machine reaches what listens there. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

export interface Guard {
  /** Address to listen on. */
  host: string;
  token?: string;
  /** Others may ask without a token. */
  insecure?: boolean;
}

/** @throws RangeError when other machines could ask without a token, and nobody said that they may */
export function assertGuarded({ host, token, insecure = false }: Guard): void {
  if (token !== undefined || insecure || isLoopback(host)) return;
  throw new RangeError(
    `A scorer that listens on ${host} is open to other machines: need a token in SCORER_TOKEN or --token_file, which ` +
      "clients send too, got none; set one (openssl rand -hex 32), listen on 127.0.0.1, or say --insecure",
  );
}

const digest = (text: string) => createHash("sha256").update(text).digest();

/**
 * Checks the authorization header of requests, in a time that tells nothing of the token.
 * @returns whether the request knows the token: false where it brings none
 * @throws Refusal when it brings another: 401
 */
export function tokenCheck(token: string): (authorization: string | null) => boolean {
  const expected = digest(token);
  return (authorization) => {
    if (authorization === null) return false;
    const [, given = ""] = /^bearer +(\S+)\s*$/i.exec(authorization) ?? [];
    if (timingSafeEqual(digest(given), expected)) return true;
    throw unauthorized("another token was sent", 'error="invalid_token"');
  };
}

/** @param found what the request brought instead of the token */
export function unauthorized(found: string, parameters = ""): Refusal {
  return new Refusal(
    401,
    `This scorer answers those who send its token: need "Authorization: Bearer TOKEN", ${found}; the trainer takes ` +
      "it from SCORER_TOKEN",
    { "www-authenticate": ['Bearer realm="scorer"', parameters].filter(Boolean).join(", ") },
  );
}
