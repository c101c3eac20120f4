/** What W&B's charts call a run's measurements. Pure. */
import { hfName } from "../hf_names.ts";
import type { MetricRow } from "../metrics.ts";
import { type Sample, scoreNames } from "../samples.ts";
import type { Values } from "./records.ts";

/** A row under W&B's names; `train/global_step` is transformers' x axis. */
export function wandbRow({ step, ...metrics }: MetricRow): Values {
  const named = Object.entries(metrics).map(([name, value]) => [hfName(name), value]);
  return { ...Object.fromEntries(named), "train/global_step": step };
}

/** Columns and rows of a table of completions. */
export function sampleRows(samples: readonly Sample[]): { columns: string[]; data: unknown[][] } {
  const names = scoreNames(samples);
  return {
    columns: ["prompt", "completion", "reward", "cost", "combined", "unsafe", ...names],
    data: samples.map(({ prompt, completion, reward, cost, combined, unsafe, scores = {} }) => [
      prompt,
      completion,
      reward,
      cost,
      combined,
      unsafe,
      ...names.map((name) => scores[name] ?? null),
    ]),
  };
}

/** The panel that draws a table as a scatter plot, as wandb.plot.scatter describes it. */
export function scatterPanel(tableKey: string, x: string, y: string, title: string): Values {
  const field = (name: string, more: Values = {}) => ({ name, ...more, fields: [] });
  const argument = (name: string, value: string) => ({ args: [{ name, value }] });
  const fields = [
    field("id"),
    field("name"),
    field("_defaultColorIndex"),
    field("summaryTable", argument("tableKey", tableKey)),
  ];
  return {
    panel_type: "Vega2",
    panel_config: {
      panelDefId: "wandb/scatter/v0",
      fieldSettings: { x, y },
      stringSettings: { title },
      transform: { name: "tableWithLeafColNames" },
      userQuery: { queryFields: [{ name: "runSets", ...argument("runSets", "${runSets}"), fields }] },
    },
  };
}
