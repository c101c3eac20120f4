/** What is held to a limit, and what is rewarded: `costs` and `rewards`, with what an entry leaves out filled in. */
import { OWN_LAMBDA_KEYS } from "./schema.ts";
import type { Config } from "./schema.ts";

/** Of a run, or of several. */
type AnyConfig = Omit<Config, "beta">;

/** A cost that is held to its limit by a lambda of its own. */
export interface Constraint<C extends AnyConfig = AnyConfig> {
  /** In metrics; null where there is one cost, which then needs none. */
  name: string | null;
  /** As the scorer calls it. */
  field: string | null;
  /** Its score model, where these are served in this process, and a classifier's label. */
  model: string;
  label: C["cost_label"];
  /** The settings, those of its lambda its own. */
  settings: C;
}

/** The settings with those that an entry of `costs` has of its own. */
export function settingsOfCost<C extends object>(
  settings: C,
  entry: NonNullable<Config["costs"]>[number],
): C {
  const own = OWN_LAMBDA_KEYS.filter((key) => entry[key] !== undefined).map((key) => [key, entry[key]]);
  return { ...settings, ...Object.fromEntries(own) };
}

/** In the order of the config; one alone where `costs` is null. */
export function constraintsOf<C extends AnyConfig>(config: C): Constraint<C>[] {
  const { cost_model, cost_label } = config;
  if (config.costs === null) {
    return [{ name: null, field: null, model: cost_model, label: cost_label, settings: config }];
  }
  return config.costs.map((entry) => ({
    name: entry.name,
    field: entry.field ?? entry.name,
    model: entry.model ?? cost_model,
    // The label of the settings is one of cost_model's.
    label: entry.label !== undefined ? entry.label : entry.model === undefined ? cost_label : null,
    settings: settingsOfCost(config, entry),
  }));
}

/** A reward of several. */
export interface NamedReward {
  name: string;
  field: string;
  weight: number;
}

/** null where there is one reward. */
export function namedRewardsOf({ rewards }: Pick<AnyConfig, "rewards">): NamedReward[] | null {
  return rewards && rewards.map(({ name, field = name, weight }) => ({ name, field, weight }));
}
