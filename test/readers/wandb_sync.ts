/**
 * W&B's own program uploads a run's file to a server of this machine, which then has what metrics.jsonl has.
 *
 *   pip install wandb==0.31.0
 *   node --import tsx test/readers/wandb_sync.ts outputs/quickstart/beta0.02_seed42_unified [path of wandb]
 *
 * Exits with 1 where a row, a table or the run's end is not there.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import type { MetricRow } from "../../src/tracking/metrics.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { asMetrics, plainRows } from "../unit/wandb_rows.ts";
import { startStubWandb } from "../unit/wandb_server.ts";

/** A run of minutes is there in seconds. */
const LIMIT_MS = 300_000;

/** Uploads a copy, for the program marks what it has uploaded. */
async function sync(folder: string, program: string, url: string): Promise<void> {
  await withScratchFolder(async (scratch) => {
    const copy = join(scratch, basename(folder)); // by its name it is an offline run
    await cp(folder, copy, { recursive: true });
    const env = { ...process.env, WANDB_BASE_URL: url, WANDB_API_KEY: "0".repeat(40) };
    await promisify(execFile)(program, ["beta", "sync", copy], { env, cwd: scratch, timeout: LIMIT_MS });
  });
}

async function checkSync(runDir: string, program: string): Promise<void> {
  const known = JSON.parse(await readFile(join(runDir, "wandb_run.json"), "utf8"));
  const folder = join(runDir, known.folder);
  const lines = (await readFile(join(runDir, "metrics.jsonl"), "utf8")).trim().split("\n");
  const server = await startStubWandb();
  try {
    await sync(folder, program, server.url);
    const run = server.runs.get(known.id);
    assert.ok(run, `the server knows no run ${known.id}`);
    assert.deepEqual(
      asMetrics(run.history.map((line) => JSON.parse(line))),
      plainRows(lines.map((line) => JSON.parse(line) as MetricRow)),
    );
    const tables = (await readdir(join(folder, "files"), { recursive: true })).filter((name) =>
      name.endsWith(".table.json")
    );
    assert.deepEqual(tables.filter((name) => !run.files.has(name)), [], "tables that the server lacks");
    assert.equal(run.exitCode, 0);
    assert.ok("learning_rate" in run.config);
    console.log(
      `${program}: ${run.history.length} rows, the steps and numbers of metrics.jsonl; ${tables.length} tables, ` +
        `${run.events.length} rows of system metrics, config; exit code ${run.exitCode}`,
    );
  } finally {
    await server.close();
  }
}

const [runDir, program = "wandb"] = process.argv.slice(2);
if (runDir === undefined) throw new RangeError("Give the run's folder");
await checkSync(runDir, program);
