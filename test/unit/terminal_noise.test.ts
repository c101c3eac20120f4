/** What reaches the terminal past the program's own words: drivers' lines, and a wait for the first step. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { worthReading } from "../../src/cli/terminal/driver_noise.ts";
import { firstStepWatch } from "../../src/cli/terminal/first_step.ts";
import { standardOutput } from "../../src/cli/terminal/output.ts";
import { leftOut } from "../left_out.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";

it("of a driver's lines those about nothing to act on are taken out, and no other", () => {
  const noise =
    "Warning: maxDynamicUniformBuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit " +
    "dynamic offset allocation limit.\n";
  assert.equal(worthReading(noise.repeat(2)), "");
  assert.equal(worthReading(`${noise}the GPU hung\n${noise}`), "the GPU hung\n");
});

const NO_DESCRIPTORS = ("Deno" in globalThis && "Deno's descriptors are not the system's") ||
  (process.platform !== "linux" && "asks /proc");

describe(
  "while a driver opens the GPU",
  { skip: leftOut("while a driver opens the GPU", NO_DESCRIPTORS) },
  () => {
    /** Runs `body` in a program of its own, whose stderr is a file that is there. @returns the file's text after it */
    const stderrAfter = async (
      body: string,
      { env = {}, command = "exec PROGRAM 2>> LOG" }: { env?: Record<string, string>; command?: string } = {},
    ): Promise<string> => {
      let text = "";
      await withScratchFolder((folder) => {
        const log = join(folder, "log");
        const program = join(folder, "program.mts");
        writeFileSync(log, "before\n");
        writeFileSync(
          program,
          `import { writeSync } from "node:fs";
import { withoutDriverNoise } from ${JSON.stringify(join(ROOT, "src/cli/terminal/driver_noise.ts"))};
const noise = "x artificially reduced from 9 to 1 to fit dynamic offset\\n";
await withoutDriverNoise(async () => { ${body} }).catch((error) => writeSync(2, error.message + "\\n"));
writeSync(2, "after\\n");
process.exit();
`,
        );
        const line = command.replace("PROGRAM", `"${process.execPath}" --import tsx "${program}"`)
          .replace("LOG", `"${log}"`);
        execFileSync("/bin/sh", ["-c", line], { cwd: ROOT, env: { ...process.env, ...env } });
        text = readFileSync(log, "utf8");
        return Promise.resolve();
      });
      return text;
    };

    it("its noise is kept off stderr, its other lines come after it, and stderr is itself again", async () => {
      assert.equal(await stderrAfter('writeSync(2, noise + "fault\\n" + noise);'), "before\nfault\nafter\n");
      assert.equal(
        await stderrAfter('writeSync(2, noise); throw new Error("failed");'),
        "before\nfailed\nafter\n",
      );
    });

    it("no line of a log that a script's other commands write to is written over", async () => {
      const command = "(echo begin; PROGRAM; echo end) > LOG 2>&1";
      assert.equal(await stderrAfter('writeSync(2, "fault\\n");', { command }), "begin\nfault\nafter\nend\n");
    });

    it("everything is said to whoever asks with GRPO_DEBUG", async () => {
      assert.match(
        await stderrAfter("writeSync(2, noise);", { env: { GRPO_DEBUG: "1" } }),
        /artificially reduced/,
      );
    });
  },
);

describe("the first step", () => {
  it("says every second on a terminal that kernels are compiled, and once in a log, until it is over", (t) => {
    t.mock.timers.enable({ apis: ["setInterval"] });
    const shown = (isTTY: boolean) => {
      const lines: string[] = [];
      const { close } = firstStepWatch((line) => lines.push(line), { isTTY });
      t.mock.timers.tick(3000);
      const early = lines.length;
      t.mock.timers.tick(27_000);
      close();
      t.mock.timers.tick(30_000);
      return { early, lines };
    };
    const onTerminal = shown(true);
    assert.deepEqual([onTerminal.early, onTerminal.lines.length], [3, 30]);
    assert.equal(onTerminal.lines[2], "compiling kernels (first step only)  3 s");
    assert.deepEqual(shown(false), { early: 0, lines: ["compiling kernels (first step only)"] });
  });
});

it("a terminal that keeps all that is written, as a CI service's, is none to draw on", () => {
  const { stdout } = process;
  const before = Object.getOwnPropertyDescriptor(stdout, "isTTY");
  Object.defineProperty(stdout, "isTTY", { value: true, configurable: true });
  try {
    const drawnOn = (env: Record<string, string | undefined>) => standardOutput(env).isTTY;
    assert.deepEqual([{}, { CI: "0" }, { CI: "" }].map(drawnOn), [true, true, true]);
    assert.deepEqual([{ CI: "1" }, { CI: "true" }, { TERM: "dumb" }].map(drawnOn), [false, false, false]);
  } finally {
    if (before) Object.defineProperty(stdout, "isTTY", before);
    else delete (stdout as { isTTY?: boolean }).isTTY;
  }
});
