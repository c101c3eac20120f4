// The samples as a table to search, sort and filter.
import { choice, element, formatNumber, labelled } from "./elements.js";
import { changeScale, tokenLegend, tokenSpans } from "./tokens.js";

export const PAGE_ROWS = 50;

/**
 * @typedef {{ search: string, split: string, step: string, run: string, verdict: string, end: string,
 *   sort: string | null, descending: boolean, rows: number, tokens: boolean }} SampleChoices
 */

/** @param {any} data @param {SampleChoices} choices @param {HTMLElement} place */
export function drawSamples(data, choices, place) {
  const { samples, runs } = data;
  if (samples.length === 0) return place.replaceChildren();
  const names = new Set(samples.flatMap((/** @type {any} */ one) => Object.keys(one.columns)));
  const leading = ["run", "split", "step", "prompt", "completion"].filter((name) =>
    name !== "run" || runs.length > 1
  );
  const rest = [...names].filter((name) => !["unsafe", "prompt", "completion"].includes(name));
  const scale = changeScale(samples);
  const columns = [...leading, ...rest, "characters", "verdict"];
  const body = element("tbody");
  const count = element("p", { class: "note", role: "status" });
  const more = element("button", { type: "button" }, `${PAGE_ROWS} more`);
  const heads = columns.map((name) => {
    const button = element("button", { type: "button" }, labelOf(name));
    const head = element("th", { scope: "col", class: isText(name) ? "text" : "number" }, button);
    button.addEventListener("click", () => {
      choices.descending = choices.sort === name ? !choices.descending : !isText(name);
      choices.sort = name;
      show();
    });
    return head;
  });
  const show = () => {
    const wanted = choices.search.toLowerCase();
    const found = samples.filter((/** @type {any} */ one) =>
      (choices.split === "" || one.split === choices.split) &&
      (choices.step === "" || String(one.step) === choices.step) &&
      (choices.run === "" || String(one.run) === choices.run) &&
      (choices.verdict === "" || verdictOf(one) === choices.verdict) &&
      (choices.end === "" || one.columns.end === choices.end) &&
      (wanted === "" || `${one.columns.prompt}\n${one.columns.completion}`.toLowerCase().includes(wanted))
    );
    const { sort } = choices;
    if (sort !== null) {
      const sign = choices.descending ? -1 : 1;
      found.sort((/** @type {any} */ a, /** @type {any} */ b) =>
        sign * compare(cell(a, sort), cell(b, sort))
      );
    }
    heads.forEach((head, i) => {
      const isSorted = columns[i] === sort;
      head.setAttribute("aria-sort", !isSorted ? "none" : choices.descending ? "descending" : "ascending");
    });
    body.replaceChildren(...found.slice(0, choices.rows).map((/** @type {any} */ one) => rowOf(one)));
    const kept = samples.length < data.samplesTotal
      ? `; the folder's samples/ holds ${data.samplesTotal} of the tables that were read`
      : "";
    count.textContent = `${found.length} of ${samples.length} samples${kept}`;
    more.hidden = found.length <= choices.rows;
  };
  /** @param {any} one @param {string} name */
  const cell = (one, name) => {
    if (name === "verdict") return verdictOf(one);
    if (name === "characters") return Array.from(String(one.columns.completion ?? "")).length;
    if (name === "run") return runs[one.run].label;
    return name === "split" || name === "step" ? one[name] : one.columns[name] ?? null;
  };
  /** @param {any} one */
  const rowOf = (one) =>
    element(
      "tr",
      {},
      ...columns.map((name) => {
        const value = cell(one, name);
        const kind = name === "verdict" ? value : isLong(name) ? "text" : isText(name) ? "word" : "number";
        const hasTokens = name === "completion" && choices.tokens && scale !== null && one.tokens;
        const content = hasTokens
          ? tokenSpans(one.tokens, scale)
          : [typeof value === "number" ? formatNumber(value) : String(value ?? "")];
        return element("td", { class: kind, "data-name": labelOf(name) }, ...content);
      }),
    );
  more.addEventListener("click", () => {
    choices.rows += PAGE_ROWS;
    show();
  });
  const search = element("input", {
    type: "search",
    placeholder: "in prompts and completions",
    value: choices.search,
  });
  search.addEventListener("input", () => {
    choices.search = search.value;
    choices.rows = PAGE_ROWS;
    show();
  });
  /** @param {"split" | "step" | "run" | "verdict" | "end"} name @param {(readonly [string, string])[]} values */
  const filter = (name, values) =>
    values.length < 2 ? null : labelled(
      name,
      choice([["", "all"], ...values], choices[name], (value) => {
        choices[name] = value;
        choices.rows = PAGE_ROWS;
        show();
      }),
    );
  /** @param {(one: any) => string | number} of */
  const distinct = (of) => [...new Set(samples.map(of))].filter((value) => value !== undefined);
  const named = (/** @type {any[]} */ values) =>
    values.map((value) => /** @type {const} */ ([String(value), String(value)]));
  const hadFocus = document.activeElement === place.querySelector("input[type=search]");
  place.replaceChildren(
    element("h2", {}, "Samples"),
    element(
      "div",
      { class: "toolbar" },
      labelled("search", search),
      filter("verdict", named(["safe", "unsafe"])),
      filter("end", named(distinct((one) => one.columns.end))),
      filter("split", named(distinct((one) => one.split))),
      filter("step", named(distinct((one) => one.step).sort((a, b) => Number(a) - Number(b)))),
      filter("run", distinct((one) => one.run).map((run) => [String(run), runs[run].label])),
    ),
    count,
    scale === null ? "" : tokenLegend(scale, choices.tokens, (isOn) => {
      choices.tokens = isOn;
      show();
    }),
    element(
      "div",
      { class: "scroll" },
      element("table", { class: "samples plot" }, element("thead", {}, element("tr", {}, ...heads)), body),
    ),
    more,
  );
  if (hadFocus) search.focus();
  show();
}

/** @param {string} name */
const isLong = (name) => name === "prompt" || name === "completion";
/** @param {string} name */
const isText = (name) => isLong(name) || ["run", "split", "verdict", "end"].includes(name);
/** What a column is called: a length beside characters is one in tokens. @param {string} name */
const labelOf = (name) => name === "length" ? "tokens" : name;
/** @param {any} one */
const verdictOf = (one) => (one.columns.unsafe === "yes" ? "unsafe" : "safe");

/** Numbers by size, words by letter; what is not there stands first. @param {any} a @param {any} b */
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (a === null || b === null) return (a === null ? 0 : 1) - (b === null ? 0 : 1);
  return String(a).localeCompare(String(b));
}
