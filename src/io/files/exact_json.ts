// JSON that gives back the very same value: shortest round-trip doubles (ECMA-262 Number::toString), -0 kept.

/**
 * Serialises a JSON-safe value without loss: JSON.parse(stringifyExact(v)) is deeply equal to v, bit for bit.
 * JSON.stringify would write -0 as 0, NaN and Infinity as null, and drop undefined: here each is kept or refused.
 * @param indent spaces per level; 0 gives one line
 * @throws TypeError when JSON cannot hold a value, whose path it names
 */
export function stringifyExact(value: unknown, indent = 0): string {
  return serialise(value, "value", indent, 0, new Set());
}

function serialise(value: unknown, path: string, indent: number, depth: number, open: Set<object>): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number" && Number.isFinite(value)) return Object.is(value, -0) ? "-0" : String(value);
  if (!isContainer(value)) {
    throw new TypeError(
      `Cannot write ${path} as JSON: required a finite number, string, boolean, null, array or plain object, ` +
        `got ${describe(value)}; use null for "no value"`,
    );
  }
  if (open.has(value)) throw new TypeError(`Cannot write ${path} as JSON: it contains itself`);
  open.add(value);
  const parts = Array.isArray(value)
    ? Array.from(value, (item, i) => serialise(item, `${path}[${i}]`, indent, depth + 1, open))
    : Object.entries(value).map(([key, item]) =>
      `${JSON.stringify(key)}:${indent > 0 ? " " : ""}` +
      serialise(item, `${path}.${key}`, indent, depth + 1, open)
    );
  open.delete(value);
  const [left, right] = Array.isArray(value) ? "[]" : "{}";
  if (parts.length === 0 || indent === 0) return left + parts.join(",") + right;
  const newline = `\n${" ".repeat(indent * (depth + 1))}`;
  return `${left}${newline}${parts.join(`,${newline}`)}\n${" ".repeat(indent * depth)}${right}`;
}

function isContainer(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return Array.isArray(value) || prototype === Object.prototype || prototype === null;
}

function describe(value: unknown): string {
  if (typeof value === "object" && value !== null) return `a ${value.constructor?.name ?? "object"}`;
  return typeof value === "symbol" || typeof value === "function" ? `a ${typeof value}` : String(value);
}
