/** Samples of a report: the tables, and answers to the same prompt side by side. */
import { escapeHtml, truncateText } from "./printable.ts";
import { numberCell, numeric, table, text } from "./report_table.ts";
import type { RunRecords } from "./run_records.ts";
import { type Sample, type SampleTable, scoreNames } from "./samples.ts";

/** Characters of one text, parts of a score, and prompts that are laid side by side. */
const TEXT_CHARACTERS = 4000;
const MOST_PARTS = 20;
const MOST_PROMPTS = 12;

/** What is known of a completion beside its scores; files of older runs do not tell. */
const KNOWN = ["end", "length", "advantage"] as const;

const shownText = (value: unknown) => escapeHtml(truncateText(String(value), TEXT_CHARACTERS));

/** A table of samples as it is where no program runs. */
export function sampleSection({ split, step, samples }: SampleTable): string {
  const title = `${split === "eval" ? "Evaluation" : "Training"} samples, step ${step}`;
  return `<section class="static" data-part="${title}"><details open><summary><h2>${title}</h2></summary>${
    samplesTable(samples)
  }</details></section>`;
}

/** Texts, scores and what is known beside them, a sample to a line. */
export function samplesTable(samples: readonly Sample[]): string {
  const names = scoreNames(samples).slice(0, MOST_PARTS);
  const shown = new Set<string>(samples.flatMap((sample) => Object.keys(sample)));
  const lines = samples.map((sample) => {
    const texts = [sample.prompt, sample.completion].map((part) =>
      `<td class="text">${shownText(part)}</td>`
    );
    const parts = names.map((name) => sample.scores?.[name] ?? null);
    const numbers = [sample.reward, sample.cost, sample.combined, ...parts].map(numberCell);
    const known = KNOWN.filter((name) => shown.has(name)).map((name) =>
      name === "end"
        ? `<td class="word">${shownText(sample.end ?? "")}</td>`
        : numberCell(sample[name] ?? null)
    );
    const verdict = sample.unsafe ? `<td class="unsafe">unsafe</td>` : `<td class="safe">safe</td>`;
    return `<tr>${texts.join("")}${numbers.join("")}${known.join("")}${verdict}</tr>`;
  });
  const scores = ["reward", "cost", "combined", ...names].map(numeric);
  const facts = KNOWN.filter((name) => shown.has(name)).map((name) =>
    name === "end" ? text("end") : numeric(name === "length" ? "tokens" : name)
  );
  const columns = [text("prompt"), text("completion"), ...scores, ...facts, text("verdict")];
  return table(columns, lines);
}

/** The first and the last table of each split, the last first. */
export function endTables({ tables }: RunRecords): SampleTable[] {
  const ends = (["train", "eval"] as const).flatMap((split) => {
    const own = tables.filter((table) => table.split === split);
    return own.length > 2 ? [own[0], own.at(-1)!] : own;
  });
  return ends.toReversed();
}

/** Answers to the same prompts: of a run's first and last evaluation, or of several runs' last ones. */
export function sideBySide(runs: readonly RunRecords[]): string {
  const evaluations = runs.map(({ tables }) => tables.filter(({ split }) => split === "eval"));
  const columns = runs.length > 1
    ? evaluations.map((tables, i) => ({ label: runs[i].name, samples: tables.at(-1)?.samples ?? [] }))
    : evaluations[0].length < 2
    ? []
    : [evaluations[0][0], evaluations[0].at(-1)!]
      .map(({ step, samples }) => ({ label: `step ${step}`, samples }));
  const byPrompt = columns.map(({ samples }) => new Map(samples.map((sample) => [sample.prompt, sample])));
  const prompts = [...new Set(byPrompt.flatMap((samples) => [...samples.keys()]))]
    .filter((prompt) => byPrompt.filter((samples) => samples.has(prompt)).length > 1)
    .slice(0, MOST_PROMPTS);
  if (prompts.length === 0) return "";
  const lines = prompts.map((prompt) => {
    const answers = byPrompt.map((samples) => answerCell(samples.get(prompt)));
    return `<tr><td class="text">${shownText(prompt)}</td>${answers.join("")}</tr>`;
  });
  return table([text("prompt"), ...columns.map(({ label }) => text(label))], lines);
}

function answerCell(sample: Sample | undefined): string {
  if (sample === undefined) return "<td></td>";
  const verdict = sample.unsafe ? "unsafe" : "safe";
  const scores = [["reward", sample.reward], ["cost", sample.cost]] as const;
  const said = scores.map(([name, value]) => `${name} ${Number.isFinite(value) ? value.toFixed(2) : "none"}`);
  return `<td class="text">${shownText(sample.completion)}<br>` +
    `<small><span class="${verdict}">${verdict}</span> ${said.join(", ")}</small></td>`;
}
