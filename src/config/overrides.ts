import { parse } from "yaml";
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

function asYaml(typed: string): unknown {
  try {
    return parse(typed);
  } catch {
    return typed; // not YAML, e.g. an open quote: the text itself, for the schema to accept or refuse
  }
}

/** A scalar, or the text itself where YAML would see a mapping: "USER:" is a string here. */
function asScalar(typed: string): unknown {
  const reading = asYaml(typed.trim());
  return typeof reading === "object" ? typed.trim() : reading;
}
