import { isNode, parseDocument, visit } from "yaml";
import { type ConfigKey, ConfigSchema, isConfigKey } from "./schema.ts";

interface Override {
  key: string;
  value: unknown;
}

/**
 * Reads one `key=value` of the command line. The value is a YAML scalar; keys that take a list also accept
 * `0.01,0.05`, and keys that take a string accept it as typed (`run_name=7`). An empty value is null.
 *
 * @throws RangeError when there is no "=" or no key before it
 */
export function parseOverride(assignment: string): Override {
  const equals = assignment.indexOf("=");
  if (equals < 1) {
    throw new RangeError(`"${assignment}" is no override: need key=value, e.g. --set learning_rate=1e-5`);
  }
  const key = assignment.slice(0, equals).trim();
  const typed = assignment.slice(equals + 1);
  return { key, value: isConfigKey(key) ? readValue(key, typed) : typed };
}

/** The first reading of the typed text that the key's type accepts; the YAML one when none is. */
function readValue(key: ConfigKey, typed: string): unknown {
  const readings = [asYaml(typed), typed.split(",").map(asScalar), typed];
  const accepts = ConfigSchema.shape[key];
  return readings.find((reading) => accepts.safeParse(reading).success) ?? readings[0];
}

/** What is not YAML (an open quote), or stands for something else (an alias), is text for the schema to judge. */
function asYaml(typed: string): unknown {
  const document = parseDocument(typed, { prettyErrors: false });
  let hasAlias = false;
  visit(document, { Alias: () => void (hasAlias = true) });
  if (hasAlias || document.errors.length > 0 || document.warnings.length > 0) return typed;
  return isNode(document.contents) ? document.contents.toJS(document) : null;
}

/** A scalar, or the text itself where YAML would see a mapping: "USER:" is a string here. */
function asScalar(typed: string): unknown {
  const reading = asYaml(typed.trim());
  return typeof reading === "object" ? typed.trim() : reading;
}
