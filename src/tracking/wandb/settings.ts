/** What W&B's environment variables and ~/.netrc say, as its own client reads them. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export type Environment = Readonly<Record<string, string | undefined>>;

export type WandbMode = "online" | "offline" | "disabled";

export interface WandbSettings {
  mode: WandbMode;
  /** Without a slash at its end. */
  baseUrl: string;
  /** Stays in memory: it is written to no file and no message. */
  apiKey: string | null;
  project: string | null;
  entity: string | null;
  name: string | null;
  group: string | null;
  tags: readonly string[];
  runId: string | null;
  /** The folder that `wandb/` is made in; null for the run's own. */
  dir: string | null;
}

const PUBLIC = "https://api.wandb.ai";

/** WANDB_MODE's words; "dryrun" is an old one. */
const MODES: Readonly<Record<string, WandbMode>> = {
  online: "online",
  run: "online",
  shared: "online",
  offline: "offline",
  dryrun: "offline",
  disabled: "disabled",
};

/** As W&B's own client takes one: older keys have 40 characters, newer ones more. */
const KEY_SHAPE = /^[\w-]{40,}$/;

/**
 * @param environment as process.env
 * @param readNetrc the text of ~/.netrc; null where there is none
 * @throws RangeError when WANDB_MODE or WANDB_BASE_URL is none that W&B knows, or a key that would be used can be none
 */
export function wandbSettings(environment: Environment, readNetrc = netrcText): WandbSettings {
  const given = (name: string) => environment[`WANDB_${name}`]?.trim() || null;
  const baseUrl = (given("BASE_URL") ?? PUBLIC).replace(/\/+$/, "");
  if (!/^https?:$/.test(URL.parse(baseUrl)?.protocol ?? "")) {
    throw new RangeError(
      `WANDB_BASE_URL must be an http:// or https:// address, got "${baseUrl}"; correct or unset it`,
    );
  }
  const { hostname } = new URL(baseUrl);
  const ofEnvironment = given("API_KEY");
  const apiKey = ofEnvironment ?? keyInNetrc(readNetrc() ?? "", hostname);
  const word = given("MODE");
  const mode = word === null ? (apiKey === null ? "offline" : "online") : MODES[word.toLowerCase()];
  if (mode === undefined) {
    throw new RangeError(
      `WANDB_MODE must be online, offline or disabled, got "${word}"; correct or unset it`,
    );
  }
  if (mode === "online" && apiKey !== null && !KEY_SHAPE.test(apiKey)) {
    const place = ofEnvironment === null ? `The password of ${hostname} in ~/.netrc` : "WANDB_API_KEY";
    throw new RangeError(
      `${place} must be a key of W&B, 40 or more letters, digits, "-" and "_"; got ${apiKey.length} characters` +
        `${apiKey.length < 40 ? "" : " with others among them"}; correct or unset it`,
    );
  }
  return {
    // Without a key nothing can be uploaded: it is kept, and the command that uploads it is told.
    mode: mode === "online" && apiKey === null ? "offline" : mode,
    baseUrl,
    apiKey,
    project: given("PROJECT"),
    entity: given("ENTITY"),
    name: given("NAME"),
    group: given("RUN_GROUP"),
    tags: (given("TAGS") ?? "").split(",").map((tag) => tag.trim()).filter(Boolean),
    runId: given("RUN_ID"),
    dir: given("DIR"),
  };
}

/** Whether a user of W&B is at work here: a key or a mode is given. */
export function knowsWandb(environment: Environment, readNetrc = netrcText): boolean {
  const { apiKey, mode } = wandbSettings(environment, readNetrc);
  return mode !== "disabled" && (apiKey !== null || Boolean(environment.WANDB_MODE?.trim()));
}

function netrcText(): string | null {
  try {
    return readFileSync(join(homedir(), ".netrc"), "utf8");
  } catch {
    return null;
  }
}

/** The password of the host's entry: `machine HOST login user password KEY`, over any lines. */
function keyInNetrc(text: string, host: string): string | null {
  const words = text.split("\n").map((line) => line.replace(/(^|\s)#.*/, "")).join(" ").split(/\s+/).filter(
    Boolean,
  );
  for (let at = words.indexOf("machine"); at !== -1; at = words.indexOf("machine", at + 1)) {
    if (words[at + 1] !== host) continue;
    const end = words.findIndex((word, i) => i > at + 1 && (word === "machine" || word === "default"));
    const entry = words.slice(at + 2, end === -1 ? undefined : end);
    const password = entry.indexOf("password");
    if (password !== -1 && entry[password + 1]) return entry[password + 1];
  }
  return null;
}
