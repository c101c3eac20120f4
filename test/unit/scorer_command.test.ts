/** The `scorer` command: where it listens, whom it tells, how much it reads, and how it ends. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, describe, it } from "node:test";
import { answers } from "../answers.ts";
import { scorerCommand } from "../../src/cli/scorer.ts";
import { closeGpu } from "../../src/gpu/device.ts";
import { createScorerClient } from "../../src/scorer/client.ts";
import { scorerUrlsAt, waitForScorers } from "../../src/scorer/url.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { withinAMinute } from "./within_a_minute.ts";

const READ_TOKENS = 24;

describe("the scorer command", () => {
  after(closeGpu);

  it("writes its address, scores the tokens of --max_length, and ends with 0 when it is asked to", () =>
    withScratchFolder(async (folder) => {
      const urlFile = join(folder, "jobs", "scorer_url");
      const ended = scorerCommand(
        ["--port", "0", "--url_file", urlFile, "--max_length", `${READ_TOKENS}`],
      );
      let url = "";
      try {
        const waiting = { timeoutMs: 60_000, pollMs: 50 };
        [url] = await Promise.race([
          waitForScorers([urlFile], () => scorerUrlsAt(`file:${urlFile}`), waiting),
          ended.then((code) => assert.fail(`the scorer ended with ${code} and told nobody its address`)),
        ]);
        assert.match(url, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
        assert.equal(readFileSync(urlFile, "utf8"), `${url}\n`);
        const client = createScorerClient({ url, retryMaxMs: 0 });
        assert.equal((await client.checkHealth()).status, "healthy");
        const long = "the answer goes on and on ".repeat(8);
        const { rewards, costs } = await client.score(
          answers(["Why?", "Why?", "Why?"], [long, `${long} so.`, "So."]),
        );
        assert.deepEqual([rewards[0], costs[0]], [rewards[1], costs[1]], "text beyond max_length was read");
        assert.notDeepEqual([rewards[0], costs[0]], [rewards[2], costs[2]]);
      } finally {
        process.emit("SIGTERM", "SIGTERM");
      }
      assert.equal(await withinAMinute(ended, "the scorer ends"), 0);
      await assert.rejects(fetch(url), TypeError);
    }));

  it("serves each cost of several under its name, and refuses several without", () =>
    withScratchFolder(async (folder) => {
      const [cost, tone] = ["cost", "cost_tone"].map((name) => `models/quickstart/${name}`);
      await assert.rejects(
        scorerCommand(["--cost_model", cost, "--cost_model", tone]),
        /--cost_model is given 2 times, as .*; several need different names: --cost_model harm=FOLDER/,
      );
      await assert.rejects(
        scorerCommand(["--cost_model", `harm=${cost}`, "--cost_label", "tone=1"]),
        /--cost_label is of "tone", and the cost models are named harm/,
      );
      const urlFile = join(folder, "scorer_url");
      const models = ["--cost_model", `harm=${cost}`, "--cost_model", `tone=${tone}`];
      const ended = scorerCommand(["--port", "0", "--url_file", urlFile, ...models]);
      try {
        const waiting = { timeoutMs: 60_000, pollMs: 50 };
        const [url] = await waitForScorers([urlFile], () => scorerUrlsAt(`file:${urlFile}`), waiting);
        const asked = answers(["How do I saw the board?"], [" Sure, clamp the board, and wear glasses."]);
        const { costs, named } = await createScorerClient({ url, retryMaxMs: 0 }).score(asked);
        const [harm, ofTone] = [named!["costs/harm"], named!["costs/tone"]];
        assert.notEqual(harm[0], ofTone[0]);
        assert.deepEqual(costs, [Math.max(harm[0], ofTone[0])]);
      } finally {
        process.emit("SIGTERM", "SIGTERM");
      }
      assert.equal(await withinAMinute(ended, "the scorer ends"), 0);
    }));

  it("takes its token from a file, warns of one that others may read, and never shows it", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "token");
      writeFileSync(file, "a secret with spaces\n", { mode: 0o644 });
      const { write } = process.stderr;
      let said = "";
      process.stderr.write = ((text: string) => (said += text, true)) as typeof write;
      try {
        await assert.rejects(scorerCommand(["--host", "0.0.0.0", "--token_file", file]), (error: Error) => {
          assert.match(
            error.message,
            /token" holds no token: need .* without spaces, got 20 characters/,
          );
          assert.doesNotMatch(error.message, /secret/);
          return true;
        });
        await assert.rejects(
          scorerCommand(["--token_file", join(folder, "none")]),
          /--token_file is .*none, where there is no file/,
        );
      } finally {
        process.stderr.write = write;
      }
      if (process.platform !== "win32") assert.match(said, /token can be read by other users; chmod 600/);
    }));

  it("refuses numbers that are none before it loads anything", async () => {
    for (
      const [args, message] of [
        [["--port", "-1"], /^--port must be a whole number of at least 0, got "-1"$/],
        [["--port", "80.5"], /--port .* got "80\.5"/],
        [["--max_length", "1"], /^--max_length must be a whole number of at least 2, got "1"$/],
        [["--max_length", "many"], /--max_length .* got "many"/],
        [["--max_queue_tokens", "0"], /--max_queue_tokens .* got "0"/],
        [["--host", "0.0.0.0"], /listens on 0\.0\.0\.0 is open to other machines/],
      ] as const
    ) {
      await assert.rejects(scorerCommand([...args]), { name: "RangeError", message });
    }
  });
});
