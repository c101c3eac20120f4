/** How settings name the functions of a user's own modules. */

export interface FunctionName {
  /** Of the module. */
  path: string;
  /** What it exports. */
  exportName: string;
  /** In metrics and messages. */
  name: string;
  weight: number;
}

const FORM = /^([^#]+)#([A-Za-z_$][\w$]*)(?::([^:]+))?$/;

/** Reads FILE#EXPORT or FILE#EXPORT:WEIGHT, the weight 1 where it is left out; null for any other text. */
export function parseFunctionName(text: string): FunctionName | null {
  const [, path, exportName, written = "1"] = FORM.exec(text.trim()) ?? [];
  const weight = Number(written);
  if (path === undefined || written.trim() === "" || !Number.isFinite(weight)) return null;
  return { path: path.trim(), exportName, name: exportName, weight };
}

/** What is wrong with a list of them, or null. */
export function functionListProblem(key: string, list: readonly string[]): string | null {
  const names = new Set<string>();
  for (const text of list) {
    const parsed = parseFunctionName(text);
    if (!parsed) {
      return `${key}: need FILE#EXPORT or FILE#EXPORT:WEIGHT, as in "rewards.ts#brief:0.5", got ${
        JSON.stringify(text)
      }`;
    }
    if (names.has(parsed.name)) {
      return `${key}: two functions are named "${parsed.name}", and metrics go by the name; rename one`;
    }
    names.add(parsed.name);
  }
  return null;
}
