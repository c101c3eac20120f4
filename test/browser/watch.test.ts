/** `train --watch`: the report of a run that trains, in a browser. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startProgram } from "../e2e/program.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { Browser } from "./chromium.ts";

test("a run that trains is watched step by step, and comes to its end", () =>
  withScratchFolder(async (folder) => {
    const settings = ["max_steps=40", "eval_jsonl=null", "report_to=none", `output_dir=${folder}`];
    const run = startProgram(["train", "--watch", ...settings.flatMap((one) => ["--set", one])]);
    const address = /Report while it trains: (http:\S+)/;
    await run.says(address);
    const browser = await Browser.open();
    try {
      const page = await browser.page();
      await page.send("Page.navigate", { url: address.exec(run.said())![1] });
      // Before the first step the browser asks again by itself.
      const shown = "(/steps 1 to (\\d+)/.exec(document.querySelector('.lead')?.textContent ?? '') ?? [])[1]";
      await page.until(`${shown} >= 1`, 60_000);
      const first = await page.evaluate(shown);
      await page.until(`${shown} > ${first}`, 60_000);
    } finally {
      await browser.close();
    }
    const { code, output } = await run.finished;
    assert.equal(code, 0, output);
    assert.match(output, /^report +\S+report\.html$/m);
  }));
