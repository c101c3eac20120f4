/** What messages tell people to type: the line that runs a command where they are. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { commandLine } from "../../src/config/command_line.ts";

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
