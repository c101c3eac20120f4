/** A checkout with scripts/start.mjs, the door of every command, whose program, packages and GPU probe stand in. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";
import { callsOf, writeStub } from "./stub_program.ts";

export const RUNS_IN_DENO = "Deno" in globalThis;
/** Says how it was started, and exits with EXIT. */
export const PROGRAM = `import { basename } from "node:path";
import process from "node:process";
const { DENO_WEBGPU_BACKEND, EXIT, GRPO_WEBGPU_CALL } = process.env;
const [, entry, ...args] = process.argv;
console.log(JSON.stringify({ entry: basename(entry), args, backend: DENO_WEBGPU_BACKEND }));
console.error("called as", GRPO_WEBGPU_CALL);
process.exitCode = Number(EXIT ?? 0);
`;
/** The name of a GPU, where ADAPTER names one or a driver was installed. */
const PROBE = `import { appendFileSync, existsSync } from "node:fs";
import process from "node:process";
appendFileSync(new URL("probes", import.meta.url), "x");
const installed = existsSync(new URL("driver", import.meta.url)) ? "An installed GPU" : "";
const name = process.env.ADAPTER ?? installed;
if (name) console.log(name);
process.exit(name ? 0 : 1);
`;
/** As users have it whose variable hides the machine's drivers: nothing may be installed then. */
export const NO_ADAPTER = { VK_DRIVER_FILES: "/nonexistent" };

/** All that a start could install with. That a driver is new enough keeps the machine's own sources as they are. */
const INSTALLERS = ["npm", "sudo", "apt-get", "apt-cache"];
const FAILS = 'echo "  Candidate: 99.0"; exit 1';

export interface Finished {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Checkout {
  root: string;
  start(args: string[], env?: Record<string, string>, preload?: string): Promise<Finished>;
  probes(): number;
  installerCalls(): string[];
}

/** Runs `body` with such a checkout. */
export function withCheckout(body: (checkout: Checkout) => Promise<void>): Promise<void> {
  return withScratchFolder(async (root) => {
    for (const name of readdirSync(join(ROOT, "scripts")).filter((name) => name.endsWith(".mjs"))) {
      cpSync(join(ROOT, "scripts", name), join(root, "scripts", name));
    }
    writeFileSync(join(root, "scripts/adapter_probe.mjs"), PROBE);
    mkdirSync(join(root, "src/cli"), { recursive: true });
    for (const entry of ["src/cli/main.ts", "scripts/dev.ts"]) writeFileSync(join(root, entry), PROGRAM);
    mkdirSync(join(root, "node_modules"));
    symlinkSync(join(ROOT, "node_modules/tsx"), join(root, "node_modules/tsx"), "junction");
    writeFileSync(join(root, "package.json"), '{"type": "module"}');
    const locks = { "package-lock.json": '{"packages": {}}', "deno.lock": '{"version": "5"}' };
    for (const [name, text] of Object.entries(locks)) writeFileSync(join(root, name), text);
    const hash = createHash("sha256").update(Object.values(locks).join("")).digest("hex");
    writeFileSync(join(root, "node_modules/.setup-stamp"), JSON.stringify({ locks: hash, dev: true }));
    for (const name of INSTALLERS) writeStub(join(root, "bin", name), FAILS);
    await body({
      root,
      start: (args, env = {}, preload) => startIn(root, args, env, preload),
      probes: () => {
        const file = join(root, "scripts/probes");
        return existsSync(file) ? readFileSync(file, "utf8").length : 0;
      },
      installerCalls: () => INSTALLERS.flatMap((name) => callsOf(join(root, "bin", name))),
    });
  });
}

function startIn(
  root: string,
  args: string[],
  variables: Record<string, string>,
  preload = "",
): Promise<Finished> {
  const hidden = [
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
    "DENO_WEBGPU_BACKEND",
    "npm_execpath",
    "CI",
    "GRPO_WEBGPU_YES",
    "npm_config_yes",
  ];
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !hidden.includes(name)));
  const runtime = RUNS_IN_DENO
    ? ["run", "-A"]
    : preload
    ? ["--import", `data:text/javascript,${preload}`]
    : [];
  const child = spawn(process.execPath, [...runtime, join(root, "scripts/start.mjs"), ...args], {
    cwd: root,
    env: { ...env, PATH: join(root, "bin"), ...variables },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => stdout += chunk);
  child.stderr.on("data", (chunk) => stderr += chunk);
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, stdout, stderr })));
}

/** As a user whom root's rights are not given, for `start`'s preload. */
export const AS_USER = "process.getuid=()=>1000";

/** Why a start by another user cannot be tried here; false where it can. */
export const NO_USER = (RUNS_IN_DENO && "Deno cannot be made to run as another user") ||
  (!existsSync("/usr/bin/apt-get") && "there is no apt-get to install with");
