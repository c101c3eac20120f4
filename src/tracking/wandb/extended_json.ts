/** JSON as W&B writes it: NaN, Infinity and -Infinity stand bare, as in Python's json. */

/** Serialises plain data; a field that is undefined is left out, anything else without a JSON form is null. */
export function extendedJson(value: unknown): string {
  if (typeof value === "number") return String(value);
  if (Array.isArray(value)) return `[${value.map(extendedJson).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined)
      .map(([key, field]) => `${JSON.stringify(key)}:${extendedJson(field)}`);
    return `{${fields.join(",")}}`;
  }
  return typeof value === "string" ? JSON.stringify(value.toWellFormed()) : JSON.stringify(value) ?? "null";
}
