/** Settings that are paths. */

/**
 * `~` and `~/folder` as a shell would write them out: no shell does in `--set output_dir=~/runs` or in a file. Also
 * behind `file:`, each of several, in a text, in a list, or in the `model` of a list's entries.
 * @param homeDir left out: the value as it is
 */
export function expandHome(value: string, homeDir: string | undefined): string;
export function expandHome(value: unknown, homeDir: string | undefined): unknown;
export function expandHome(value: unknown, homeDir: string | undefined): unknown {
  if (Array.isArray(value)) return value.map((item) => expandHome(item, homeDir));
  if (typeof value === "object" && value !== null && "model" in value) {
    return { ...value, model: expandHome(value.model, homeDir) };
  }
  if (typeof value !== "string" || homeDir === undefined) return value;
  return value.replace(/(^|^file:|,\s*file:)~(?=\/|$)/g, (_, prefix) => prefix + homeDir);
}
