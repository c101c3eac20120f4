/** The plan of `--dry-run` as text. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { dryRunText } from "../../src/cli/dry_run.ts";
import { loadConfig } from "../../src/config/load.ts";
import { defaultConfig } from "../../src/config/schema.ts";

it("is as wide as the terminal, every line of it a comment, and the settings below load as they were", async () => {
  const config = { ...defaultConfig(), per_device_train_batch_size: 30, max_steps: 3 };
  const text = await dryRunText(config, [["note", "word ".repeat(30).trim()]], {
    isTraining: true,
    columns: 50,
  });
  const [plan, settings] = text.split("\n\n# Model and prompts\n");
  const lines = plan.split("\n");
  assert.ok(lines.every((line) => line.startsWith("# ")), plan);
  const wide = lines.filter((line) => line.length > 50);
  assert.ok(
    wide.every((line) => line.trim().split(/ +/).length <= 3),
    `breaks between words: ${wide.join("\n")}`,
  );
  assert.ok(lines.length > 12 && lines.some((line) => /^# {16}word/.test(line)), plan);
  const loaded = loadConfig({ text: settings, fileName: "plan.yaml" });
  assert.deepEqual(loaded, config);
});
