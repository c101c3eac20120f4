/** What messages tell people to type: the line that runs a command where they are. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { commandLine } from "../../src/config/command_line.ts";
import { shownCommand } from "../../src/config/shown_command.ts";

it("a command is typed as npm, Deno or an installed package takes it, with -- for npm alone", () => {
  const typed = (call: string | undefined, ...args: string[]) =>
    commandLine({ GRPO_WEBGPU_CALL: call }, "report", ...args);
  assert.deepEqual(["npm run", "deno task", "npx grpo-webgpu"].map((call) => typed(call, "a", "--b")), [
    "npm run report -- a --b",
    "deno task report a --b",
    "npx grpo-webgpu report a --b",
  ]);
  assert.equal(typed("npm run"), "npm run report", "no -- without anything behind it");
  assert.equal(typed(undefined, "a"), "npx grpo-webgpu report a", "a program that imports the package");
});

it("a command is recorded as it was typed, but for what nobody else is to know", () => {
  const shown = (environment: Record<string, string>, ...args: string[]) =>
    shownCommand({ GRPO_WEBGPU_CALL: "deno task", ...environment }, "train", args);
  assert.equal(
    shown({}, "--set", "beta=0.1", "--set", "stop_strings=[a b]", "--config", "it's.yaml"),
    "deno task train --set beta=0.1 --set 'stop_strings=[a b]' --config 'it'\\''s.yaml'",
  );
  const kept = ["scorer_token_file=/a/b.token", "prompt_key=prompt", "eos_token_ids=[1]", "seed=12345678"];
  for (const setting of kept) assert.ok(shown({ SEED: "12345678" }, setting).includes(setting), setting);
  const secret = "s3cretWord99";
  const masked: [string, Record<string, string>?][] = [
    [`scorer_url=http://me:${secret}@host:8000/a`],
    [`scorer_url=http://host/?write_token=${secret}&x=1`],
    [`hub_token=${secret}`],
    [`--api-key=${secret}`],
    [`run_name=hf_${secret}ABCDEFGHIJ`],
    [`run_name=of-${secret}`, { WANDB_API_KEY: secret }],
    [`run_name=of-${secret}`, { SCORER_TOKEN: secret }],
  ];
  for (const [word, environment = {}] of masked) {
    const text = shown(environment, "--set", word);
    assert.ok(!text.includes(secret), text);
    assert.ok(text.includes("***"), text);
  }
  assert.match(shown({}, `scorer_url=http://host/?write_token=${secret}&x=1`), /host\/.*\*\*\*&x=1/);
});
