/** scripts/root.mjs: nothing is done with sudo that nobody agreed to. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { mayUseRoot, takeYes } from "../../scripts/root.mjs";

const never = () => Promise.reject(new Error("nobody is there to ask"));

test("sudo is used after a yes: of the option, a variable, a CI service or a person, and of nothing else", async () => {
  assert.equal(await mayUseRoot({ GRPO_WEBGPU_YES: "1" }, false, never), true);
  assert.equal(await mayUseRoot({ CI: "true" }, true, never), true);
  assert.equal(await mayUseRoot({}, false, never), false);
  assert.equal(await mayUseRoot({ CI: "false", GRPO_WEBGPU_YES: "0" }, false, never), false);
  for (
    const [answer, expected] of [["", true], [" Y\n", true], ["yes", true], ["n", false], ["what?", false]]
  ) {
    assert.equal(
      await mayUseRoot({}, true, () => Promise.resolve(answer as string)),
      expected,
      String(answer),
    );
  }
});

test("--yes is taken out of the command line, and npm's own spelling of it counts", () => {
  const taken = (words: string[], env: Record<string, string | undefined> = {}) => {
    takeYes(words, env);
    return [words, env.GRPO_WEBGPU_YES];
  };
  assert.deepEqual(taken(["node", "start", "train", "--yes", "--seed", "1"]), [
    ["node", "start", "train", "--seed", "1"],
    "1",
  ]);
  assert.deepEqual(taken(["train"], { npm_config_yes: "true" }), [["train"], "1"]);
  assert.deepEqual(taken(["train"], { npm_config_yes: "" }), [["train"], undefined]);
});
