/** Reads a command's options, and says of a wrong one what to type instead. */
import { homedir } from "node:os";
import { type Command, CommanderError, InvalidArgumentError } from "commander";
import { commandLine } from "../config/command_line.ts";
import { expandHome } from "../config/paths.ts";
import { isConfigKey } from "../config/schema.ts";
import { nearestName } from "../config/unknown_key.ts";

/**
 * Parses `args` with `command`, whose options are then there. Ends the process after --help.
 * @throws RangeError when an option or a word is not the command's; it names what was probably meant
 */
export function parseArguments(command: Command, args: readonly string[]): Command {
  command.exitOverride().configureOutput({ writeErr: () => {} });
  try {
    return command.parse(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) process.exit(0);
    throw new RangeError(explain(error, command, args));
  }
}

/** An option that takes one value: a second one would silently win over the first. */
export function once(flag: string): (value: string) => string {
  let before: string | undefined;
  return (value) => {
    if (before !== undefined) {
      throw new RangeError(`${flag} is given twice, as ${before} and ${value}; give one`);
    }
    before = value;
    return value;
  };
}

/** Reads the value of an option that takes a whole number. */
export function wholeFrom(flag: string, least: number): (text: string) => number {
  const given = once(flag);
  return (text) => {
    const value = Number(given(text));
    if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least && value < 2 ** 32) return value;
    throw new InvalidArgumentError(`Required a whole number >= ${least} below 2^32`);
  };
}

/** A path as typed: `--output=~/eval` reaches us with its "~". */
export const pathOf = (typed: string): string => expandHome(typed, homedir());

/** Where the options of a command are said. */
export const listsOptions = (words: string): string =>
  `"${commandLine(process.env, words, "--help")}" lists the options`;

/** Its words, those of the command that it is a part of first. */
const nameOf = (command: Command): string =>
  command.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name();

function explain(error: CommanderError, command: Command, args: readonly string[]): string {
  const problem = error.message.replace(/^error: /, "").split("\n")[0].replace(/\.$/, "");
  const typed = nameOf(command);
  const how = listsOptions(typed);
  if (error.code === "commander.unknownOption") {
    const [, option = ""] = /'(-[^']*)'/.exec(error.message) ?? [];
    return `unknown option ${option}; ${insteadOf(option, command, args) ?? how}`;
  }
  if (error.code === "commander.excessArguments") {
    const words = command.args.map((word) => `"${word}"`).join(" ");
    const assignment = command.args.find((word) => isConfigKey(word.split("=")[0]) && word.includes("="));
    const instead = assignment ? `use --set ${assignment}` : how;
    return `unexpected ${words}: ${typed} takes options alone; ${instead}`;
  }
  return `${problem}; ${how}`;
}

/** What to type in the place of an option that there is not. */
function insteadOf(typed: string, command: Command, args: readonly string[]): string | null {
  const [flag] = typed.split("=");
  const key = flag.replace(/^-+/, "").replaceAll("-", "_");
  const takesSettings = command.options.some(({ long }) => long === "--set");
  if (takesSettings && isConfigKey(key)) return `use --set ${key}=${valueOf(flag, args)}`;
  const flags = command.options.map(({ long }) => long?.slice(2) ?? "");
  const nearest = nearestName(flag.replace(/^-+/, ""), flags);
  return nearest && `did you mean --${nearest}?`;
}

/** What was typed behind an option, or its place. */
function valueOf(flag: string, args: readonly string[]): string {
  const index = args.findIndex((word) => word === flag || word.startsWith(`${flag}=`));
  if (args[index]?.includes("=")) return args[index].slice(flag.length + 1);
  const next = args[index + 1];
  return next === undefined || next.startsWith("--") ? "VALUE" : next;
}
