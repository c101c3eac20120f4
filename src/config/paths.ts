/** Settings that are paths. */

/**
 * `~` and `~/folder` as a shell would write them out: no shell does in `--set output_dir=~/runs` or in a file. Also
 * behind `file:`, each of several.
 * @param homeDir left out: the value as it is
 */
export function expandHome<T>(value: T, homeDir: string | undefined): T | string {
  if (typeof value !== "string" || homeDir === undefined) return value;
  return value.replace(/(^|^file:|,\s*file:)~(?=\/|$)/g, (_, prefix) => prefix + homeDir);
}
