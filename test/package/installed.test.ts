/**
 * The npm package as its users have it: packed, installed in an empty folder, where it trains in Node and in Deno.
 * `npm run test:package` runs it, and `npm test` does not: it needs the npm registry and minutes.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { metricRows, ROOT, RUN } from "../e2e/program.ts";

const NODE = "Deno" in globalThis ? "node" : process.execPath;
const DENO = "Deno" in globalThis ? process.execPath : join(ROOT, "node_modules/.bin/deno");

/** One step of few and short completions; with its own quickstart, which the package brings. */
const STEP = {
  beta: 0.02,
  eval_jsonl: null,
  num_generations: 4,
  per_device_train_batch_size: 4,
  gradient_accumulation_steps: 2,
  max_completion_length: 8,
  max_steps: 1,
};
const set = (settings: Record<string, unknown>) =>
  Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${JSON.stringify(value)}`]);

const REWARDS = `import type { Answer } from "grpo-webgpu";
export const brief = (answers: readonly Answer[]): number[] => answers.map(({ completion }) => -completion.length);
export const curious = (answers: readonly Answer[]): number[] =>
  answers.map(({ completion }) => completion.includes("?") ? 1 : 0);
`;
const PROGRAM = `import { closeGpu, train, type MetricRow, type TrainedModel } from "grpo-webgpu";
import { brief } from "./rewards.ts";
const trained: TrainedModel = await train({
  model: "models/quickstart/policy",
  prompts: ["Why?", { prompt: "How?", level: 2 }],
  rewards: [{ name: "brief", score: brief }],
  config: { ...${JSON.stringify(STEP)}, output_dir: "by_program" },
  onStep: (row: MetricRow) => console.log("brief", row["rewards/brief/mean"]),
});
console.log(trained.finished, trained.finalWeights);
await closeGpu();
`;
const TSCONFIG = {
  compilerOptions: {
    target: "es2022",
    module: "nodenext",
    strict: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    types: ["node"],
    typeRoots: [join(ROOT, "node_modules/@types")],
  },
  include: ["*.ts"],
};

describe("the package", () => {
  let folder = "";
  /** Runs a program in the folder. @returns what it printed; rejects with it where it fails */
  const run = async (program: string, args: string[]) => {
    const { GRPO_WEBGPU_TUNING = "off", ...env } = process.env;
    const options = { cwd: folder, env: { ...env, GRPO_WEBGPU_TUNING }, timeout: 600_000 };
    const { stdout, stderr } = await promisify(execFile)(program, args, options).catch((error) => {
      throw new Error(
        `${program} ${args.join(" ")} ended with ${error.code}:\n${error.stdout}${error.stderr}`,
      );
    });
    return stdout + stderr;
  };

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "grpo-package-"));
    writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }');
    writeFileSync(join(folder, "rewards.ts"), REWARDS);
    writeFileSync(join(folder, "program.ts"), PROGRAM);
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(TSCONFIG));
    await promisify(execFile)("npm", ["pack", "--pack-destination", folder], { cwd: ROOT });
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    await run("npm", ["install", join(folder, `grpo-webgpu-${version}.tgz`)]);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("brings no native engine that is fetched from elsewhere, no sources and no tests", () => {
    const own = join(folder, "node_modules/grpo-webgpu");
    for (const name of ["src", "test", "bench", "node_modules"]) {
      assert.ok(!existsSync(join(own, name)), name);
    }
    const engine = JSON.parse(
      readFileSync(join(folder, "node_modules/onnxruntime-node/package.json"), "utf8"),
    );
    assert.equal(engine.name, "onnxruntime-common");
  });

  const judged = { ...STEP, reward_functions: ["rewards.ts#brief", "rewards.ts#curious:0.5"] };
  const runs: [name: string, program: string, args: string[]][] = [
    ["Node", "npx", ["--no-install", "grpo-webgpu"]],
    ["Deno", DENO, ["run", "-A", "npm:grpo-webgpu"]],
  ];
  for (const [name, program, args] of runs) {
    it(`trains from the command line in ${name}: its quickstart, and by two rewards in TypeScript`, async () => {
      await run(program, [...args, "train", ...set({ ...STEP, output_dir: name })]);
      assert.ok(existsSync(join(folder, name, RUN, "model.safetensors")));
      await run(program, [...args, "train", ...set({ ...judged, output_dir: `${name}_judged` })]);
      const [row] = metricRows(join(folder, `${name}_judged`, RUN));
      const sum = row["rewards/brief/mean"] + 0.5 * row["rewards/curious/mean"];
      assert.ok(Math.abs(row["helpfulness/mean"]! - sum) < 1e-9);
      await assert.rejects(
        run(program, [...args, "bench"]),
        /Unknown task "bench"; tasks: train, eval, scorer/,
      );
    });
  }

  it("trains to the same bits in both runtimes", () => {
    const weights = (name: string) => readFileSync(join(folder, name, RUN, "model.safetensors"));
    assert.ok(weights("Node").equals(weights("Deno")));
  });

  it("is a library with types, whose program runs in Node and in Deno", async () => {
    await run(NODE, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", folder]);
    const said = /brief -\d[^]*true by_program.*model\.safetensors/;
    assert.match(await run("npx", ["--no-install", "tsx", "program.ts"]), said);
    rmSync(join(folder, "by_program"), { recursive: true });
    assert.match(await run(DENO, ["run", "-A", "--unstable-webgpu", "program.ts"]), said);
  });
});
