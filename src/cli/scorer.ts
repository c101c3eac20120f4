/** The `scorer` command: the scorer service with a reward and a cost model. */
import { dirname } from "node:path";
import { Command } from "commander";
import { assertModelNames } from "../assembly/hub.ts";
import { makeFolders } from "../io/files/atomic_files.ts";
import type { RefusedRequest } from "../scorer/server.ts";
import { assertGuarded, isLoopback } from "../scorer/service/access.ts";
import { parseToken, readTokenFile, TOKEN_VARIABLE } from "../scorer/token.ts";
import { writeScorerUrl } from "../scorer/url.ts";
import { parseArguments, pathOf } from "./arguments.ts";
import { exitCodeAfter, STOP_SIGNALS, type StopSignalName } from "./signals.ts";
import { assemblyEvents } from "./terminal/assembly_events.ts";
import { standardOutput, writeError } from "./terminal/output.ts";

interface ScorerOptions {
  reward_model: string;
  cost_model: string[];
  reward_label?: string;
  cost_label: string[];
  port: string;
  host: string;
  token_file?: string;
  insecure?: boolean;
  url_file?: string;
  max_length: string;
  max_queue_tokens: string;
}

function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least) return value;
  throw new RangeError(`--${name} must be a whole number of at least ${least}, got "${text}"`);
}

/** A label of a classifier, as reward_label takes it: its number, or its name. */
const labelOf = (text: string | undefined) =>
  text === undefined ? null : /^\d+$/.test(text) ? Number(text) : text;

/** NAME=VALUE of an option that is given for each cost, or VALUE alone. */
function namedValue(text: string): { name: string | null; value: string } {
  const [, name, value] = /^([A-Za-z_][\w-]*)=(.+)$/.exec(text) ?? [];
  return name === undefined ? { name: null, value: text } : { name, value };
}

/**
 * The cost models of the options, with their labels.
 * @throws RangeError when there are several and they have no names, or two have one; or a label is of none of them
 */
function costModelsOf({ cost_model, cost_label }: Pick<ScorerOptions, "cost_model" | "cost_label">) {
  const given = cost_model.length > 0 ? cost_model : [process.env.COST_MODEL ?? "models/quickstart/cost"];
  const models = given.map(namedValue);
  const names = models.map(({ name }) => name);
  if (models.length > 1 && (names.includes(null) || new Set(names).size < names.length)) {
    throw new RangeError(
      `--cost_model is given ${models.length} times, as ${
        given.join(" and ")
      }; several need different names: ` +
        "--cost_model harm=FOLDER --cost_model tone=FOLDER",
    );
  }
  const labels = new Map(cost_label.map(namedValue).map(({ name, value }) => [name, value]));
  for (const name of labels.keys()) {
    if (names.includes(name)) continue;
    const named = names.map((known) => known === null ? "without a name" : `named ${known}`).join(", ");
    throw new RangeError(
      `--cost_label ${
        name === null ? "has no name" : `is of "${name}"`
      }, and the cost models are ${named}; ` +
        "give it as NAME=LABEL where they have names",
    );
  }
  return models.map(({ name, value }) => ({ name, model: value, label: labelOf(labels.get(name)) }));
}

const collect = (text: string, before: string[]) => [...before, text];

function commandOf(): Command {
  const {
    REWARD_MODEL = "models/quickstart/reward",
    MAX_LENGTH = "512",
  } = process.env;
  return new Command("scorer")
    .description("Serve a reward and a cost model over HTTP.")
    .option(
      "--reward_model <model>",
      "reward model, a folder or a hub id (environment: REWARD_MODEL)",
      REWARD_MODEL,
    )
    .option(
      "--cost_model <model>",
      "cost model, a folder or a hub id (environment: COST_MODEL); of several, NAME=MODEL for each",
      collect,
      [],
    )
    .option("--reward_label <label>", "label of a classifier whose score is the reward, by index or name")
    .option(
      "--cost_label <label>",
      "label of a classifier whose score is the cost, by index or name; of several models NAME=LABEL",
      collect,
      [],
    )
    .option("--port <number>", "port to listen on; 0 takes a free one", "8000")
    .option("--host <address>", "address to listen on; 0.0.0.0 for all, which needs a token", "127.0.0.1")
    .option("--token_file <path>", "file with the token that clients must send (environment: SCORER_TOKEN)")
    .option("--insecure", "let other machines ask without a token")
    .option("--url_file <path>", "write the service's URL to this file once it answers")
    .option(
      "--max_length <tokens>",
      "tokens of a conversation that are read (environment: MAX_LENGTH)",
      MAX_LENGTH,
    )
    .option("--max_queue_tokens <tokens>", "tokens that may wait; more is to come later (429)", "1048576")
    .allowExcessArguments(false);
}

/** `scorer`: serves until a signal; returns the exit code. */
export async function scorerCommand(args: string[]): Promise<number> {
  const options = parseArguments(commandOf(), args).opts<ScorerOptions>();
  const port = wholeNumber("port", options.port, 0);
  const maxLength = wholeNumber("max_length", options.max_length, 2);
  const maxQueueTokens = wholeNumber("max_queue_tokens", options.max_queue_tokens, 1);
  const { host, insecure } = options;
  const token = await readToken(options.token_file);
  assertGuarded({ host, token, insecure });
  const reward = pathOf(options.reward_model);
  const costs = costModelsOf(options).map((cost) => ({ ...cost, model: pathOf(cost.model) }));
  await assertModelNames([reward, ...costs.map(({ model }) => model)]);
  const ended = firstSignal();
  // What a mistyped option need not wait for is loaded from here on.
  const [{ openGpu }, { serveToOthers }, { withoutDriverNoise }] = await Promise.all([
    import("../gpu/device.ts"),
    import("../assembly/scorer_service.ts"),
    import("./terminal/driver_noise.ts"),
  ]);
  await withoutDriverNoise(openGpu);
  const output = standardOutput();
  output.write(`Loading ${[reward, ...costs.map(({ model }) => model)].join(" and ")} ...\n`);
  const service = await serveToOthers(
    { reward, rewardLabel: labelOf(options.reward_label), costs, maxLength },
    { port, hostname: host, token, insecure, maxQueueTokens },
    { ...assemblyEvents(output), onRefusal: logRefusal, onCut: cutNotice(maxLength) },
  );
  ended.isServing();
  output.write(`Service will be available at ${service.url}\n`);
  if (token === undefined && !isLoopback(host)) {
    log("it answers everybody who reaches it: no token is asked for");
  }
  try {
    if (options.url_file) {
      const path = pathOf(options.url_file);
      await makeFolders(dirname(path));
      await writeScorerUrl(path, service.url);
    }
    const name = await Promise.race([ended.signal, service.failed]);
    output.write(`${name}: answering what has been asked; once more ends at once.\n`);
    return name.startsWith("SIGUSR") ? exitCodeAfter(name) : 0;
  } finally {
    await service.close();
    ended.forget();
  }
}

/** Within which npm, a shell and a process group hand the same signal on. */
const HANDED_ON_MS = 1000;

/**
 * Listens for the signals that end a program. Until it serves, one ends it at once, and so does a second one.
 * @returns the first that comes while it serves
 */
function firstSignal(): { signal: Promise<StopSignalName>; isServing(): void; forget(): void } {
  let isServing = false;
  let firstAt: number | undefined;
  let heard = (_: StopSignalName) => {};
  const signal = new Promise<StopSignalName>((resolve) => heard = resolve);
  const onSignal = (name: NodeJS.Signals) => {
    const now = performance.now();
    if (firstAt !== undefined && now - firstAt < HANDED_ON_MS) return;
    if (!isServing || firstAt !== undefined) process.exit(exitCodeAfter(name));
    firstAt = now;
    heard(name as StopSignalName);
  };
  for (const name of STOP_SIGNALS) process.on(name, onSignal);
  return {
    signal,
    isServing: () => void (isServing = true),
    forget: () => STOP_SIGNALS.forEach((name) => process.off(name, onSignal)),
  };
}

/** The token of a file, else of the environment; undefined where there is none. */
async function readToken(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) {
    const given = process.env[TOKEN_VARIABLE];
    return given ? parseToken(given, `${TOKEN_VARIABLE} of the environment`) : undefined;
  }
  const token = await readTokenFile(pathOf(file), log);
  if (token !== null) return token;
  throw new Error(`--token_file is ${file}, where there is no file: need one with the token; write it there`);
}

/** A line of the log, which goes to standard error. */
function log(text: string): void {
  writeError(`${new Date().toISOString()} ${text.replaceAll("\n", " ")}\n`);
}

function logRefusal({ method, route, status, detail }: RefusedRequest): void {
  log(`${method} ${route} ${status} ${detail.slice(0, LOGGED_CHARACTERS)}`);
}

const LOGGED_CHARACTERS = 500;
const NOTICE_MS = 60_000;

/** Says at most once a minute how many conversations lost their end since it was said before. */
function cutNotice(maxLength: number): (conversations: number) => void {
  let unsaid = 0;
  let saidAt = -Infinity;
  return (conversations) => {
    unsaid += conversations;
    if (performance.now() - saidAt < NOTICE_MS) return;
    log(
      `${unsaid} conversations were longer than the ${maxLength} tokens that are read, and were scored without ` +
        "their end; raise --max_length",
    );
    unsaid = 0;
    saidAt = performance.now();
  };
}
