import { stringify } from "yaml";
import { type Group, GROUPS, type OnResume } from "./fields.ts";
import { type Config, CONFIG_KEYS, type ConfigKey, defaultConfig, fieldMeta } from "./schema.ts";
import type { RunConfig } from "./sweep.ts";

function keysOf(group: Group): ConfigKey[] {
  return CONFIG_KEYS.filter((key) => fieldMeta(key).group === group);
}

/** The whole configuration as YAML, one section per group; `loadConfig` reads it back to an equal one. */
export function formatConfig(config: Config | RunConfig): string {
  return GROUPS.map((group) => {
    const section = Object.fromEntries(keysOf(group).map((key) => [key, config[key]]));
    return `# ${group}\n${stringify(section, { collectionStyle: "any", lineWidth: 0 })}`;
  }).join("\n");
}

const HEADER = ["Key", "Default", "Must be", "Meaning"] as const;

/** Behind a key: what becomes of it where a run goes on. */
const MARKS: Readonly<Record<OnResume, string>> = { kept: " \\*", named: " °", free: "" };

/** docs/config.md: every key with its default, its accepted values and its meaning. */
export function describeConfig(): string {
  const defaults = defaultConfig();
  const sections = GROUPS.map((group) => {
    const rows = keysOf(group).map((key) => {
      const { requirement, description, onResume } = fieldMeta(key);
      return [
        `\`${key}\`${MARKS[onResume]}`,
        `\`${JSON.stringify(defaults[key])}\``,
        requirement.replace(/([<|])/g, "\\$1"),
        description,
      ];
    });
    return `## ${group}\n\n${markdownTable([[...HEADER], ...rows])}`;
  });
  return [
    "# Configuration",
    "Generated from `src/config/schema.ts` by `scripts/config_docs.ts`.",
    "A config file is YAML with these keys; `--set key=value` sets any of them on the\n" +
    "command line. A run goes on from a checkpoint only while the keys marked \\* are unchanged. Those\n" +
    "marked ° may change: what changed is named, applies from the next step on, and is kept in changes.jsonl;\n" +
    "see [guide.md](guide.md#going-on-with-other-settings).",
    ...sections,
  ].join("\n\n") + "\n";
}

/** A Markdown table with aligned columns, as the formatter writes it. */
export function markdownTable([header, ...rows]: string[][]): string {
  const all = [header!, ...rows];
  const widths = header!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (cells: string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  return [line(header!), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
