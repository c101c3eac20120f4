/** The report's page, as a reader has it: in a browser. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { buildReport } from "../../src/assembly/report.ts";
import { serveReport } from "../../src/assembly/report_server.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { Browser, type Page } from "./chromium.ts";
import { ROOT } from "../unit/source_files.ts";
import {
  STEPS,
  writeChange,
  writeOtherRun,
  writeRollouts,
  writeRunFolder,
  writeStep,
} from "./run_folders.ts";

/** Where pictures of the pages are left, if anywhere. */
const { GRPO_WEBGPU_SCREENSHOTS: SCREENSHOTS } = process.env;

let browser: Browser;
before(async () => {
  browser = await Browser.open();
});
after(() => browser.close());

async function withRunPage(body: (page: Page, dir: string) => Promise<void>, size = {}): Promise<void> {
  await withScratchFolder(async (folder) => {
    const dir = join(folder, "beta0.1_seed42_unified");
    await writeRunFolder(dir, 0.1);
    await writeChange(dir);
    const page = await browser.page(size);
    await page.open(pathToFileURL(await buildReport([dir])).href);
    await body(page, dir);
    assert.deepEqual(page.errors, []);
  });
}

async function keepPicture(page: Page, name: string): Promise<void> {
  if (SCREENSHOTS) await writeFile(join(SCREENSHOTS, `${name}.png`), await page.screenshot(), "base64");
}

const typed = (selector: string, value: string, event: string) =>
  `(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.value = ${
    JSON.stringify(value)
  }; e.dispatchEvent(new Event(${JSON.stringify(event)}, { bubbles: true })); })()`;
/** The select whose label begins with a word. */
const chosen = (place: "samples" | "plots", label: string, value: string) =>
  `(() => { const e = [...document.querySelectorAll("#${place} label")]
    .find((one) => one.textContent.startsWith(${JSON.stringify(label)})).querySelector("select");
    e.value = ${JSON.stringify(value)}; e.dispatchEvent(new Event("change")); })()`;
const texts = (selector: string) =>
  `[...document.querySelectorAll(${JSON.stringify(selector)})].map((e) => e.textContent)`;
const rows = texts("#samples tbody tr");

test("the page draws every plot, asks for nothing, and nothing that a model wrote runs", () =>
  withRunPage(async (page) => {
    const planned = await page.evaluate(
      "JSON.parse(document.getElementById('data').textContent).plots.length",
    );
    assert.ok(planned >= 9, String(planned));
    assert.equal(await page.evaluate("document.querySelectorAll('#plots .uplot').length"), planned);
    assert.equal(await page.evaluate("getComputedStyle(document.querySelector('.static')).display"), "none");
    assert.equal(page.requests.filter((url) => !url.startsWith("file:")).length, 0);
    assert.equal(page.requests.length, 1);
    assert.equal(await page.evaluate("window.attacked"), undefined);
    assert.equal(await page.evaluate("document.querySelectorAll('img, main script').length"), 0);
    await keepPicture(page, "light");
  }));

test("samples are searched, filtered and sorted", () =>
  withRunPage(async (page) => {
    assert.equal((await page.evaluate(rows)).length, 48);
    await page.evaluate(typed("#samples input[type=search]", "NEEDLE", "input"));
    assert.equal((await page.evaluate(rows)).length, 6);
    assert.match((await page.evaluate(texts("#samples [role=status]")))[0], /^6 of 48 samples/);
    await page.evaluate(chosen("samples", "split", "eval"));
    assert.equal((await page.evaluate(rows)).length, 3);
    await page.evaluate(chosen("samples", "step", "40"));
    assert.equal((await page.evaluate(rows)).length, 1);
    await page.evaluate(typed("#samples input[type=search]", "", "input"));
    assert.equal((await page.evaluate(rows)).length, 8);
    await page.evaluate(chosen("samples", "verdict", "unsafe"));
    const verdicts = await page.evaluate(texts("#samples tbody td:last-child"));
    assert.ok(verdicts.length > 0 && verdicts.length < 8);
    assert.ok(verdicts.every((verdict: string) => verdict === "unsafe"));
    await page.evaluate(chosen("samples", "verdict", ""));
    await page.evaluate(chosen("samples", "end", "length"));
    assert.equal((await page.evaluate(rows)).length, 1, "one answer of the eight was cut");
    await page.evaluate(chosen("samples", "end", ""));
    const click =
      `[...document.querySelectorAll("#samples th button")].find((b) => b.textContent === "cost").click()`;
    const at = "1 + [...document.querySelectorAll('#samples th')].findIndex((h) => h.textContent === 'cost')";
    const costs = async () =>
      (await page.evaluate(texts(`#samples tbody td:nth-child(${await page.evaluate(at)})`))).map(Number);
    await page.evaluate(click);
    const falling = await costs();
    assert.deepEqual(falling, falling.toSorted((a: number, b: number) => b - a));
    await page.evaluate(click);
    assert.deepEqual(await costs(), falling.toReversed());
  }));

test("the slider goes through the windows of the scatter plot, with counts and histograms of each", () =>
  withRunPage(async (page) => {
    const shown = async () => [
      await page.evaluate("document.querySelector('#scatter .toolbar output').textContent"),
      (await page.evaluate(texts("#scatter .counts td.number"))).join(" "),
    ];
    const last = await shown();
    assert.equal(last[0], "steps 41–60");
    await page.evaluate(typed("#scatter-step", "0", "input"));
    const first = await shown();
    assert.equal(first[0], "steps 1–20");
    assert.notEqual(first[1], last[1]);
    assert.equal(await page.evaluate("document.querySelectorAll('#scatter .bar').length > 4"), true);
  }));

test("a plot tells the value under the mouse, is zoomed by dragging, and takes other axes", () =>
  withRunPage(async (page) => {
    const over = "#plots .u-over";
    const place = () => page.evaluate("document.querySelector('#plots .charttitle .note').textContent");
    const ticks = () => page.evaluate("document.querySelector('#plots .toolbar button').disabled");
    await page.mouse(over, "mouseMoved", 0.5);
    await page.until("document.querySelector('#plots .charttitle .note').textContent !== ''");
    assert.match(await place(), /^step (30|31)$/);
    // The other plots are at the same step.
    assert.match((await page.evaluate(texts("#plots .charttitle .note"))).at(-1), /^step (30|31)$/);
    assert.equal(await ticks(), true);
    await page.mouse(over, "mousePressed", 0.5);
    for (const x of [0.6, 0.8]) await page.mouse(over, "mouseMoved", x);
    await page.mouse(over, "mouseReleased", 0.8);
    await page.until("!document.querySelector('#plots .toolbar button').disabled");
    await page.mouse(over, "mouseMoved", 0.02);
    await page.until("/^step 3[012]$/.test(document.querySelector('#plots .charttitle .note').textContent)");
    await page.evaluate("document.querySelector('#plots .toolbar button').click()");
    await page.until("document.querySelector('#plots .toolbar button').disabled");
    await page.evaluate(chosen("plots", "x", "minutes"));
    await page.mouse(over, "mouseMoved", 0.99);
    await page.until(
      "/^minutes in steps (2.9|3)/.test(document.querySelector('#plots .charttitle .note').textContent)",
    );
    await page.evaluate(chosen("plots", "x", "completions"));
    await page.mouse(over, "mouseMoved", 0.99);
    await page.until(
      "/^completions scored 3[78]/.test(document.querySelector('#plots .charttitle .note').textContent)",
    );
    await page.evaluate(chosen("plots", "x", "tokens"));
    await page.evaluate("document.querySelector('#plots input[type=checkbox]').click()");
    await page.evaluate(typed("#plots input[type=range]", "0", "change"));
    assert.equal(await page.evaluate("document.querySelectorAll('#plots .uplot').length >= 9"), true);
  }));

test("kept completions are shown token by token, in the colour of what training did to each, and as they are", () =>
  withScratchFolder(async (folder) => {
    const dir = join(folder, "run");
    await writeRunFolder(dir, 0.1);
    await writeRollouts(dir, 60, join(ROOT, "models/quickstart/policy"));
    const page = await browser.page();
    await page.open(pathToFileURL(await buildReport([dir])).href);
    await page.evaluate(chosen("samples", "split", "train"));
    await page.evaluate(chosen("samples", "step", "60"));
    const spans = (name: string) => page.evaluate(texts(`#samples td .token${name}`));
    assert.equal((await page.evaluate(rows)).length, 8);
    const [all, more, less] = [await spans(""), await spans(".more"), await spans(".less")];
    assert.ok(more.length > 20 && less.length > 20, `${all.length}, ${more.length}, ${less.length}`);
    assert.equal(all.length, more.length + less.length);
    const title = await page.evaluate("document.querySelector('#samples td .less').title");
    assert.match(title, /^".*": -1 nats \(log-prob -0\.5, reference 0\.5\)$/);
    const first = await page.evaluate(
      "document.querySelector('#samples tbody [data-name=completion]').textContent",
    );
    assert.match(first, /<script>window\.attacked = 1<\/script>/);
    assert.equal(await page.evaluate("window.attacked"), undefined);
    assert.equal(await page.evaluate("document.querySelectorAll('img, main script').length"), 0);
    await keepPicture(page, "tokens");
    await page.evaluate("document.querySelector('#samples .tokenlegend input').click()");
    assert.equal((await spans("")).length, 0);
    assert.match((await page.evaluate(rows))[1], /answer 1 of step 60/);
    assert.deepEqual(page.errors, []);
  }));

test("how far the weights moved is drawn layer by layer, deep models too, and named as text", () =>
  withRunPage(async (page) => {
    const part = "[data-part='How far the weights moved']";
    assert.equal(await page.evaluate(`document.querySelectorAll("${part} rect.bar").length`), 62);
    const labels = await page.evaluate(texts(`${part} svg text[text-anchor=middle]`));
    assert.ok(labels.length < 24 && labels.includes("embed.") && labels.includes("unemb."), labels.join());
    assert.match(
      await page.evaluate(`document.querySelector("${part} .lead").textContent`),
      /<script>window/,
    );
    assert.equal(await page.evaluate("window.attacked"), undefined);
  }));

test("runs that log other metrics, and other numbers of completions a step, are compared by what they spent", () =>
  withScratchFolder(async (folder) => {
    const dirs = ["grpo", "es"].map((name) => join(folder, name));
    await writeRunFolder(dirs[0], 0.1);
    await writeOtherRun(dirs[1]);
    await writeChange(dirs[0]);
    const page = await browser.page();
    await page.open(pathToFileURL(await buildReport(dirs)).href);
    const budgets = await page.evaluate(texts("[data-part='At equal budgets'] th[scope=row]"));
    assert.deepEqual(budgets, ["3840 completions", "2 minutes"]);
    await page.evaluate(chosen("plots", "x", "completions"));
    const over = "#plots .u-over";
    await page.mouse(over, "mouseMoved", 0.998);
    await page.until(
      "/^completions scored 3840$/.test(document.querySelector('#plots .charttitle .note').textContent)",
    );
    // Both runs end there: each tells its value.
    const values = await page.evaluate(texts("#plots figure:first-child .legend output"));
    assert.ok(values.length === 2 && values.every((value: string) => value !== ""), values.join());
    await keepPicture(page, "budgets");
    assert.deepEqual(page.errors, []);
  }));

test("a served page shows a new step without being loaded anew, and keeps what the reader had opened", () =>
  withScratchFolder(async (dir) => {
    await writeRunFolder(dir, 0.1);
    const server = await serveReport(() => [dir]);
    try {
      const page = await browser.page();
      await page.open(server.url);
      await page.evaluate(
        "window.first = true; document.querySelector('[data-part=Config] details').open = true",
      );
      await page.evaluate(typed("#samples input[type=search]", "needle", "input"));
      await page.until("/rows of/.test(document.querySelector('.live').textContent)");
      await writeStep(dir, STEPS + 1);
      await page.until(`/steps 1 to ${STEPS + 1}/.test(document.querySelector('.lead').textContent)`);
      assert.equal(await page.evaluate("window.first"), true);
      assert.equal(await page.evaluate("document.querySelector('[data-part=Config] details').open"), true);
      assert.equal((await page.evaluate(rows)).length, 6);
      assert.ok(page.requests.every((url) => url === server.url), page.requests.join());
      assert.equal(await page.evaluate("window.attacked"), undefined);
      assert.deepEqual(page.errors, []);
    } finally {
      await server.close();
    }
  }));

test("without scripts the page shows its plots and tables as they are", () =>
  withScratchFolder(async (dir) => {
    await writeRunFolder(dir, 0.1);
    const page = await browser.page();
    await page.send("Emulation.setScriptExecutionDisabled", { value: true });
    await page.open(pathToFileURL(await buildReport([dir])).href);
    assert.equal(await page.evaluate("document.querySelectorAll('.static svg').length > 10"), true);
    assert.equal(await page.evaluate("getComputedStyle(document.querySelector('.static')).display"), "block");
  }));

test("on a narrow screen, and in the dark, nothing stands out at the side", () =>
  withRunPage(async (page) => {
    await page.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: "dark" }],
    });
    assert.equal(await page.evaluate("document.documentElement.scrollWidth"), 390);
    await keepPicture(page, "narrow-dark");
  }, { width: 390, height: 844 }));

test("the comparison of a sweep draws every run under its short name, and where each ended", () =>
  withScratchFolder(async (folder) => {
    const betas = [0.01, 0.02, 0.05, 0.1];
    const dirs = betas.map((beta) => join(folder, `beta${beta}_seed42_unified`));
    for (const [i, dir] of dirs.entries()) await writeRunFolder(dir, betas[i]);
    const page = await browser.page();
    await page.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: "dark" }],
    });
    await page.open(pathToFileURL(await buildReport(dirs)).href);
    const names = await page.evaluate(texts("#plots figure:first-child .legend button"));
    assert.deepEqual(names, betas.map((beta) => `beta${beta}`));
    await page.evaluate(chosen("samples", "run", "2"));
    assert.equal((await page.evaluate(rows)).length, 48);
    assert.match(
      await page.evaluate("document.querySelector('[data-part=\"Settings that differ\"]').textContent"),
      /beta/,
    );
    await keepPicture(page, "comparison-dark");
    assert.deepEqual(page.errors, []);
  }));
