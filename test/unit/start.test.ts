/** scripts/start.mjs, the door of every command, in a checkout whose program, packages and GPU probe stand in. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { leftOut } from "../left_out.ts";
import {
  AS_USER,
  type Finished,
  NO_ADAPTER,
  NO_USER,
  PROGRAM,
  RUNS_IN_DENO,
  withCheckout,
} from "./start_checkout.ts";
import { NO_SHELL, writeStub } from "./stub_program.ts";

const started = ({ code, stdout, stderr }: Finished) => {
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as { entry: string; args: string[]; backend?: string };
};

describe("a start", { skip: leftOut("a start", NO_SHELL) }, () => {
  it("runs the program with its arguments, and exits as it does", () =>
    withCheckout(async ({ start }) => {
      const args = ["report", "a folder", "--set", "x=1"];
      assert.deepEqual(started(await start(args)).args, args);
      assert.equal((await start(["report"], { EXIT: "130" })).code, 130);
    }));

  it("tells the program how it was called, for messages that say what to type", () =>
    withCheckout(async ({ start }) => {
      const { stderr } = await start(["report"], { GRPO_WEBGPU_CALL: "of another start" });
      assert.match(stderr, RUNS_IN_DENO ? /^called as deno task$/m : /^called as npm run$/m);
    }));

  it("of the installed package runs its JavaScript, installs nothing and knows no developers' task", () =>
    withCheckout(async ({ root, start, installerCalls }) => {
      rmSync(join(root, "src"), { recursive: true });
      for (const name of ["package-lock.json", "deno.lock"]) rmSync(join(root, name));
      mkdirSync(join(root, "dist/cli"), { recursive: true });
      writeFileSync(join(root, "dist/cli/main.js"), PROGRAM);
      const args = ["train", "--dry-run"];
      assert.deepEqual(started(await start(args)), { entry: "main.js", args, backend: "vulkan" });
      const installed = RUNS_IN_DENO ? "deno run -A npm:grpo-webgpu" : "npx grpo-webgpu";
      assert.match((await start(args)).stderr, new RegExp(`^called as ${installed}$`, "m"));
      const { code, stderr } = await start(["bench"]);
      assert.deepEqual([code, stderr.trim()], [
        1,
        'Unknown task "bench"; tasks: train, eval, scorer, data, report, rollouts, es-replay, judge, slurm, doctor',
      ]);
      assert.deepEqual(installerCalls(), []);
    }));

  it("of a developers' task runs the program that lies outside src/", () =>
    withCheckout(async ({ start }) => {
      for (
        const [task, entry] of [["bench", "dev.ts"], ["parity", "dev.ts"], ["mutants", "dev.ts"], [
          "eval",
          "main.ts",
        ]]
      ) {
        const args = [task, "--help"];
        assert.deepEqual(started(await start(args)), { entry, args, backend: "vulkan" });
      }
    }));

  it("of an unknown task names the tasks, and exits with 1", () =>
    withCheckout(async ({ start, probes }) => {
      for (const args of [["trian"], []]) {
        const { code, stdout, stderr } = await start(args, NO_ADAPTER);
        assert.deepEqual([code, stdout], [1, ""]);
        assert.equal(
          stderr.indexOf(
            `Unknown task "${
              args[0] ?? ""
            }"; tasks: train, eval, scorer, bench, gpu-report, parity, mutants, data, report, rollouts, es-replay, judge, slurm, doctor, test, test:package, test:gpu-variants, test:cluster, test:browser, chaos, ok, build`,
          ),
          0,
          stderr,
        );
        assert.equal(/did you mean "(.*)"/.exec(stderr)?.[1], args[0] && "train");
        assert.doesNotMatch(stderr, /\.mjs:\d+/);
      }
      assert.equal(probes(), 0);
    }));

  it("drops the -- that deno task hands on, and no other", () =>
    withCheckout(async ({ start }) => {
      assert.deepEqual(started(await start(["report", "--", "a", "--", "b"])).args, [
        "report",
        "a",
        "--",
        "b",
      ]);
    }));

  it("is refused where npm kept options for itself, with the line to type", () =>
    withCheckout(async ({ root, start, probes }) => {
      mkdirSync(join(root, "docs"));
      writeFileSync(join(root, "docs/config.md"), "| `learning_rate` | x |\n");
      const kept = async (task: string, variables: Record<string, string>, words: string[] = []) => {
        const env = Object.entries(variables).map(([name, value]) => [`npm_config_${name}`, value]);
        return await start([task, ...words], { npm_lifecycle_event: task, ...Object.fromEntries(env) });
      };
      const lines: [string, Record<string, string>, string[], string][] = [
        ["train", { beta: "0.5", seed: "9" }, [], "npm run train -- --beta 0.5 --seed 9"],
        ["train", { dry_run: "true" }, [], "npm run train -- --dry-run"],
        ["train", { seed: "true" }, ["9"], "npm run train -- --seed 9"],
        ["train", { beta: "true", seed: "true" }, ["1", "2"], "npm run train -- --beta VALUE --seed VALUE"],
        ["train", { learning_rate: "1e-4" }, [], "npm run train -- --learning_rate 1e-4"],
        ["eval", { output: "a", set: "x=1\n\ny=2" }, [], "npm run eval -- --set x=1 --set y=2 --output a"],
        ["scorer", { port: "1" }, [], "npm run scorer -- --port 1"],
        ["doctor", { config: "a" }, [], "npm run doctor -- --config a"],
      ];
      for (const [task, variables, words, line] of lines) {
        const { code, stdout, stderr } = await kept(task, variables, words);
        assert.deepEqual([code, stdout], [1, ""]);
        assert.match(stderr, new RegExp(`^npm kept .*; put -- before the options:\n\n  ${line}\n`));
      }
      assert.equal(probes(), 0);
    }));

  it("is not refused for npm's own settings, for those of a file, or for those of another script", () =>
    withCheckout(async ({ root, start }) => {
      const userConfig = join(root, "npmrc");
      writeFileSync(userConfig, "dry-run=true\nseed = 7\n");
      writeFileSync(join(root, ".npmrc"), "port=1\n");
      const env = {
        npm_config_userconfig: userConfig,
        npm_config_dry_run: "true",
        npm_config_seed: "7",
        npm_config_port: "1",
        npm_config_cache: "/x",
        npm_config_loglevel: "silent",
        npm_config_yes: "",
      };
      for (const task of ["train", "scorer"]) {
        started(await start([task], { ADAPTER: "A GPU", npm_lifecycle_event: task, ...env }));
      }
      const others = { npm_lifecycle_event: "prepare", npm_config_beta: "1" };
      started(await start(["train"], { ADAPTER: "A GPU", ...others }));
    }));

  const asNode = (version: string) =>
    `Object.defineProperty(process,"versions",{value:{...process.versions,node:"${version}"}})`;
  const NO_VERSIONS = RUNS_IN_DENO && "Deno has no version of Node that could be too old";

  it(
    "with a Node that is too old says so, and one that is new enough goes on",
    { skip: leftOut("Node's version at a start", NO_VERSIONS) },
    () =>
      withCheckout(async ({ start }) => {
        for (const version of ["18.20.4", "20.5.1"]) {
          const { code, stdout, stderr } = await start(["report"], {}, asNode(version));
          assert.deepEqual([code, stdout], [1, ""]);
          assert.match(stderr, new RegExp(`^Node ${version} is too old: need 20\\.6 or newer`));
        }
        for (const version of ["20.6.0", "22.0.0"]) started(await start(["report"], {}, asNode(version)));
      }),
  );
});

describe("the GPU's adapter", {
  skip: leftOut(
    "the GPU's adapter",
    NO_SHELL || (process.platform !== "linux" && "asked for on Linux alone"),
  ),
}, () => {
  it("is asked for once, and not again while the machine's drivers are the same", () =>
    withCheckout(async ({ start, probes, installerCalls }) => {
      for (const task of ["train", "eval"]) {
        const { backend } = started(await start([task], { ADAPTER: "A GPU" }));
        assert.equal(backend, "vulkan");
      }
      assert.equal(probes(), 1);
      started(await start(["train"], { ADAPTER: "A GPU", VK_DRIVER_FILES: "/other" }));
      assert.equal(probes(), 2);
      assert.deepEqual(installerCalls(), []);
    }));

  it("that a variable hides is an error which names the variable; nothing is installed", () =>
    withCheckout(async ({ start, probes, installerCalls }) => {
      for (const attempt of [1, 2]) {
        const { code, stdout, stderr } = await start(["train"], NO_ADAPTER);
        assert.deepEqual([code, stdout, probes()], [1, "", attempt]);
        assert.match(stderr, /^No GPU adapter answers with VK_DRIVER_FILES="\/nonexistent"; unset it/);
      }
      assert.deepEqual(installerCalls(), []);
    }));

  it(
    "is installed through sudo where the user says yes, with this user's proxies, which no command line shows",
    { skip: leftOut("a start by another user", NO_USER) },
    () =>
      withCheckout(async ({ root, start, probes, installerCalls }) => {
        const driver = join(root, "scripts/driver");
        writeStub(join(root, "bin/sudo"), `case "$*" in *on-stdin) /bin/cat > "${driver}";; esac`);
        const proxies = { http_proxy: "http://me:secret@proxy:1", no_proxy: "a,b" };
        const finished = await start(["train", "--yes"], proxies, AS_USER);
        const { code, stderr } = finished;
        assert.equal(code, 0, stderr);
        assert.deepEqual(started(finished).args, ["train"], "the answer is no option of the command");
        assert.match(stderr, /^GPU adapter: An installed GPU$/m);
        const said = stderr.indexOf("as root, this is to be run:\n  apt-get update\n  apt-get install");
        assert.ok(said >= 0 && said < stderr.indexOf("GPU adapter:"), stderr);
        const program = `${process.execPath} ${join(root, "scripts/setup_vulkan.mjs")}`;
        assert.deepEqual(installerCalls(), ["-n true", `-n ${program} --proxies-on-stdin`]);
        assert.deepEqual(JSON.parse(readFileSync(driver, "utf8")), proxies);
        assert.doesNotMatch(stderr, /secret/);
        assert.equal(probes(), 2);
        started(await start(["train"], {}, AS_USER));
        assert.equal(probes(), 2, "what answers after the installation is remembered");
      }),
  );

  it(
    "is not installed by sudo where nobody can be asked and nobody said yes",
    { skip: leftOut("a start by another user", NO_USER) },
    () =>
      withCheckout(async ({ root, start, installerCalls }) => {
        writeStub(join(root, "bin/sudo"));
        const { code, stderr } = await start(["train"], {}, AS_USER);
        assert.equal(code, 1);
        assert.match(
          stderr,
          /was not installed\. Say yes, start with --yes \(or GRPO_WEBGPU_YES=1\), or run this once:/,
        );
        assert.deepEqual(installerCalls(), ["-n true"]);
      }),
  );

  it(
    "that only root can install is an error with the one command to run",
    { skip: leftOut("a start by another user", NO_USER) },
    () =>
      withCheckout(async ({ root, start, installerCalls }) => {
        const { code, stdout, stderr } = await start(["train"], {}, AS_USER);
        assert.deepEqual([code, stdout], [1, ""]);
        const command = `sudo ${process.execPath} ${join(root, "scripts/setup_vulkan.mjs")}`;
        assert.ok(stderr.includes(`needs root. Run this once, then start again:\n\n  ${command}\n`), stderr);
        assert.deepEqual(installerCalls(), ["-n true"]);
      }),
  );

  it(
    "is no longer waited for where sudo does not answer and cannot be killed",
    { skip: leftOut("a start by another user", NO_USER) },
    () =>
      withCheckout(async ({ root, start }) => {
        // What it starts holds its output open after it.
        writeStub(join(root, "bin/sudo"), "/bin/sleep 60 & trap '' TERM; wait");
        const began = performance.now();
        const { code, stderr } = await start(["train"], {}, AS_USER);
        assert.equal(code, 1);
        assert.match(stderr, /needs root\. Run this once/);
        assert.ok(performance.now() - began < 30_000);
      }),
  );

  it("is not needed by doctor and report, nor to ask what a command does", () =>
    withCheckout(async ({ start, probes }) => {
      for (
        const args of [["doctor"], ["report"], ["train", "--help"], ["train", "--dry-run"]]
      ) {
        assert.deepEqual(started(await start(args, NO_ADAPTER)).args, args);
      }
      assert.equal(probes(), 0);
    }));
});
