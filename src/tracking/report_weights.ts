/** What a report says of how far training moved the weights: part by part, and layer by layer. */
import { formatNumber } from "./plot_axes.ts";
import { type BarPlot, barPlot } from "./plot_bars.ts";
import { plotLegend } from "./plot_svg.ts";
import { escapeHtml, truncateText } from "./printable.ts";
import { numberCell, numeric, table, text } from "./report_table.ts";
import type { RunRecords } from "./run_records.ts";
import {
  type ChangedTensor,
  changeOf,
  layerCount,
  type ModelPart,
  partLabel,
  PARTS,
  type WeightChange,
} from "./weight_change.ts";

const NAME_CHARACTERS = 300;

/** Their colours in the plot: of the layers' parts, then of what stands at the ends. */
const SERIES: Readonly<Partial<Record<ModelPart, number>>> = {
  attention: 0,
  mlp: 1,
  embedding: 2,
  unembedding: 3,
};

const NOTE =
  `<p class="note">L2 norms. Relative: norm of the change over that of the weights before. Share: of the ` +
  "squared norm of the whole change.</p>";

/** Plot and table of one run; empty where it was not measured. */
export function weightsSection({ weightChange: change }: RunRecords): string {
  if (change === null) return "";
  const start = escapeHtml(truncateText(change.start, NAME_CHARACTERS));
  return `<p class="lead">${change.end} against ${start}.</p>` +
    `<div class="plots"><figure>${layersPlot(change)}${legendOf(change)}</figure></div>${
      partsTable(change)
    }${NOTE}`;
}

const percent = (share: number | null) => share === null ? "" : `${formatNumber(100 * share, 3)} %`;
const percentCell = (share: number | null) => `<td class="number">${percent(share)}</td>`;

function partsTable(change: WeightChange): string {
  const rows: [string, (tensor: ChangedTensor) => boolean][] = [
    ...PARTS.map((part) =>
      [partLabel(part, change.tied), ({ part: of }: ChangedTensor) => of === part] as [string, () => boolean]
    ),
    ["all", () => true],
  ];
  const lines = rows.flatMap(([label, isWanted]) => {
    const found = changeOf(change, isWanted);
    if (found === null) return [];
    const norms = [found.change, found.start].map(numberCell).join("");
    return [
      `<tr><th scope="row">${label}</th>${norms}${percentCell(found.ratio)}${percentCell(found.share)}</tr>`,
    ];
  });
  const columns = ["change", "before", "relative", "share"].map(numeric);
  return table([text("part of the model"), ...columns], lines);
}

/** The two parts of a layer, and the matrices at the ends, by their relative change. */
function layersPlot(change: WeightChange): string {
  const group = (label: string, layer: number | null, parts: readonly ModelPart[]) => ({
    label,
    bars: parts.flatMap((part) => {
      const found = changeOf(change, (tensor) => tensor.part === part && tensor.layer === layer);
      if (found === null || found.ratio === null) return [];
      const name = layer === null
        ? partLabel(part, change.tied)
        : `layer ${layer}, ${partLabel(part, false)}`;
      return [{ series: SERIES[part]!, value: 100 * found.ratio, title: `${name}: ${percent(found.ratio)}` }];
    }),
  });
  const groups: BarPlot["groups"] = [
    group("embed.", null, ["embedding"]),
    ...Array.from(
      { length: layerCount(change) },
      (_, layer) => group(String(layer), layer, ["attention", "mlp"]),
    ),
    ...change.tied ? [] : [group("unemb.", null, ["unembedding"])],
  ];
  return barPlot({ title: "Relative change of the weights", yLabel: "% of the norm before", groups });
}

const legendOf = ({ tied }: WeightChange) =>
  plotLegend(
    Object.entries(SERIES).sort((a, b) => a[1] - b[1])
      .filter(([part]) => !(tied && part === "unembedding"))
      .map(([part]) => partLabel(part as ModelPart, tied)),
  );

/** The same of several runs; empty where none was measured. */
export function weightsComparison(runs: readonly RunRecords[]): string {
  const measured = runs.flatMap(({ name, weightChange }) =>
    weightChange === null ? [] : [{ name, weightChange }]
  );
  if (measured.length === 0) return "";
  const parts = PARTS.filter((part) =>
    measured.some(({ weightChange }) => weightChange.tensors.some((tensor) => tensor.part === part))
  );
  const lines = measured.map(({ name, weightChange }) => {
    const cells = parts.map((part) => {
      const found = changeOf(weightChange, (tensor) => tensor.part === part);
      const share = found && found.share !== null ? ` <small>(${percent(found.share)})</small>` : "";
      return `<td class="number">${found ? percent(found.ratio) : ""}${share}</td>`;
    });
    const all = changeOf(weightChange, () => true);
    return `<tr><th scope="row">${escapeHtml(name)}</th>${cells.join("")}${
      percentCell(all && all.ratio)
    }</tr>`;
  });
  const tied = measured.every(({ weightChange }) => weightChange.tied);
  const columns = [...parts.map((part) => numeric(partLabel(part, tied))), numeric("all")];
  return `<p class="lead">Relative change of each part, and in brackets its share of the squared norm of all.</p>` +
    table([text("run"), ...columns], lines);
}
