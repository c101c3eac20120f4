/** A command as it was typed, for the records of a run: whatever a secret may be in it is not. */
import { commandLine, shellWord } from "./command_line.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const MASK = "***";
/** Names of variables, settings and parts of an address that hold what nobody else is to know. */
const SECRET = String.raw`[\w.-]*(?:token|secret|passw(?:or)?d|api[_-]?key|credentials?|signature)`;
/** Shorter values may stand in a command by chance. */
const LEAST_SECRET = 8;

const PATTERNS: readonly (readonly [pattern: RegExp, instead: string])[] = [
  // User and password of an address.
  [/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/?#@]+@/gi, `$1${MASK}@`],
  [new RegExp(`([?&]${SECRET}=)[^&#\\s]+`, "gi"), `$1${MASK}`],
  // A setting of such a name, whether or not there is one: --set my_token=...
  [new RegExp(`^((?:--)?${SECRET}=).+$`, "is"), `$1${MASK}`],
  // As the hub and services of language models give them out.
  [/\b(hf_|sk-|ghp_)[A-Za-z0-9_-]{16,}/g, `$1${MASK}`],
];

/**
 * The line that runs a command here, its secrets masked: passwords in addresses, values of settings that are named as
 * secrets are, and whatever such a variable of the environment holds.
 * @param args as the process was given them
 */
export function shownCommand(environment: Environment, command: string, args: readonly string[]): string {
  const isSecret = new RegExp(`^(?:${SECRET}|${SECRET}s|[\\w]*_key)$`, "i");
  const known = Object.entries(environment).flatMap(([name, value]) =>
    isSecret.test(name) && value !== undefined && value.length >= LEAST_SECRET ? [value] : []
  );
  const masked = args.map((word) => {
    const named = known.reduce((text, secret) => text.replaceAll(secret, MASK), word);
    return PATTERNS.reduce((text, [pattern, instead]) => text.replace(pattern, instead), named);
  });
  return commandLine(environment, command, ...masked.map(shellWord));
}
