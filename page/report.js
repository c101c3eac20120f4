// The page: draws what the data say in the place of the plots and tables that stand there without a program, and where
// a server serves it, asks that for newer rows.
import { element } from "./elements.js";
import { drawPlots } from "./plots.js";
import { drawSamples, PAGE_ROWS } from "./samples.js";
import { drawScatters } from "./scatter.js";

const POLL_MS = 2000;
const TIMEOUT_MS = 30_000;

/** What the reader has chosen; kept while the data change. */
const chosen = {
  /** @type {import("./plots.js").PlotChoices} */
  plots: { x: "step", log: false, smoothing: 40, zoom: null, hidden: new Set() },
  /** @type {import("./scatter.js").ScatterChoices} */
  scatter: { split: "train", at: null },
  /** @type {import("./samples.js").SampleChoices} */
  samples: {
    search: "",
    split: "",
    step: "",
    run: "",
    verdict: "",
    end: "",
    sort: null,
    descending: false,
    rows: PAGE_ROWS,
    tokens: true,
  },
};

/** @param {Document} from */
const dataOf = (from) => JSON.parse(from.getElementById("data")?.textContent ?? "");
const placeOf = (/** @type {string} */ id) => document.getElementById(id);

let data = dataOf(document);
/** Frees what the plots hold. */
let leavePlots = () => {};

function drawPlotsAnew() {
  leavePlots();
  const place = placeOf("plots");
  if (place) leavePlots = drawPlots(data, chosen.plots, place, drawPlotsAnew);
}

function drawScattersAnew() {
  const place = placeOf("scatter");
  if (place && data.runs[0].scatters.length > 0) drawScatters(data, chosen.scatter, place, drawScattersAnew);
}

function drawAll() {
  drawPlotsAnew();
  drawScattersAnew();
  const place = placeOf("samples");
  if (place) drawSamples(data, chosen.samples, place);
}

/** Takes over what a newer page says. Sections come as nodes of a document whose scripts never run. @param {Document} newer */
function takeOver(newer) {
  data = dataOf(newer);
  const main = document.querySelector("main");
  const parts = newer.querySelectorAll("main > *");
  /** What stands now, by name: the places that are drawn into stay as they are. @type {Map<string, Element>} */
  const before = new Map();
  for (const part of document.querySelectorAll("main > *")) before.set(nameOf(part), part);
  const now = [...parts].map((part) => {
    const old = before.get(nameOf(part));
    if (old?.querySelector("#plots, #scatter") || old?.id === "samples") return old;
    const copy = document.importNode(part, true);
    // What the reader has opened stays open.
    copy.querySelectorAll("details").forEach((details, i) => {
      details.open = old?.querySelectorAll("details")[i]?.open ?? details.open;
    });
    return copy;
  });
  main?.replaceChildren(...now, ...[before.get("live")].filter((part) => part !== undefined));
  drawAll();
}

/** @param {Element} part */
const nameOf = (part) =>
  part.getAttribute("data-part") ?? (part.id || part.querySelector("h2, div[id]")?.textContent) ??
    part.tagName;

async function follow() {
  const status = element("p", { class: "live", role: "status", "data-part": "live" }, "live");
  document.querySelector("main")?.append(status);
  let tag = "";
  while (true) {
    try {
      /** @type {Record<string, string>} */
      const headers = tag === "" ? {} : { "if-none-match": tag };
      const options = { signal: AbortSignal.timeout(TIMEOUT_MS), headers };
      const answer = await fetch(location.pathname, { ...options, cache: "no-store" });
      if (answer.status === 200) {
        tag = answer.headers.get("etag") ?? "";
        takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
        status.textContent = `live, rows of ${new Date().toLocaleTimeString()}`;
      } else if (answer.status !== 304) {
        status.textContent = `the server answers ${answer.status}; asking again`;
      }
    } catch {
      status.textContent = "no answer from the server; asking again";
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

document.documentElement.classList.add("drawn");
try {
  drawAll();
} catch (error) {
  document.documentElement.classList.remove("drawn");
  throw error;
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPlotsAnew);
if ("live" in document.body.dataset) follow();
