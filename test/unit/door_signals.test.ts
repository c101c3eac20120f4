/** scripts/door_signals.mjs and npm_parent.mjs: what a signal does that comes early, or to npm alone. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { leftOut } from "../left_out.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";

const NO_SIGNALS = process.platform === "win32" && "Windows has no such signals";
const moduleOf = (name: string) => JSON.stringify(pathToFileURL(join(ROOT, "scripts", name)));
const runtimeArgs = "Deno" in globalThis ? ["run", "-A"] : [];

/** A command that listens for nothing itself, once it is ready. */
const DEAF = `import ${moduleOf("door_signals.mjs")};
console.log("ready");
setInterval(() => {}, 1000);
`;
/** A command that listens, and after a while says where its debugger is. */
const LISTENS = `import ${moduleOf("door_signals.mjs")};
import inspector from "node:inspector";
import process from "node:process";
process.on("SIGUSR1", () => setTimeout(() => {
  console.log("debugger:", inspector.url());
  process.exit();
}, 500));
console.log("ready");
// Deno listens for a debugger's signal half a second after its start.
setTimeout(() => console.log("settled"), 800);
setInterval(() => {}, 1000);
`;
/** A command that says which signal it was sent, and ends. */
const COMMAND = `import process from "node:process";
import { watchNpm } from ${moduleOf("npm_parent.mjs")};
for (const name of ["SIGHUP", "SIGUSR1"]) process.on(name, () => {
  console.log(name);
  process.exit();
});
watchNpm("train");
console.log("ready");
setInterval(() => {}, 1000);
`;
/** npm, which starts its one argument, and once it is told to opens a socket, as its debugger does. */
const NPM = `import { spawn } from "node:child_process";
import { createServer } from "node:net";
import process from "node:process";
spawn(process.execPath, ${
  JSON.stringify(runtimeArgs)
}.concat(process.argv[2]), { stdio: ["ignore", "inherit", "inherit"] });
process.stdin.once("data", () => createServer().listen(0, "127.0.0.1"));
`;

/** Starts a program and waits until it, or what it starts, is ready. */
async function startReady(words: string[], variables: Record<string, string> = {}, isReadyBy = /ready/) {
  const child = spawn(process.execPath, [...runtimeArgs, ...words], {
    env: { ...process.env, ...variables },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let output = "";
  let ready = () => {};
  const isReady = new Promise<void>((resolve) => ready = resolve);
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => isReadyBy.test(output += chunk) && ready());
  }
  const code = new Promise<number | null>((resolve) => child.on("exit", resolve));
  const closed = new Promise<void>((resolve) => child.on("close", () => resolve()));
  await Promise.race([isReady, closed.then(() => assert.fail(output))]);
  return { child, code, closed, said: () => output };
}

describe("a signal before a command listens", { skip: leftOut("early signals", NO_SIGNALS) }, () => {
  it("ends it, with the code that has a run queued again where it is a cluster's warning; no debugger opens", () =>
    withScratchFolder(async (folder) => {
      const file = join(folder, "deaf.mjs");
      writeFileSync(file, DEAF);
      const cases = [["train", "SIGUSR1", 85], ["train", "SIGUSR2", 85], ["report", "SIGUSR1", 138]] as const;
      await Promise.all(cases.map(async ([task, signal, expected]) => {
        const { child, code, said } = await startReady([file, task]);
        process.kill(child.pid!, signal);
        assert.equal(await code, expected, said());
        assert.equal(said(), "ready\n");
      }));
    }));
});

it("a debugger is not left open by a signal that a command listens for", {
  skip: leftOut("debuggers and signals", NO_SIGNALS),
}, () =>
  withScratchFolder(async (folder) => {
    const file = join(folder, "listens.mjs");
    writeFileSync(file, LISTENS);
    const { child, closed, said } = await startReady([file, "train"], {}, /settled/);
    process.kill(child.pid!, "SIGUSR1");
    await closed;
    assert.match(said(), /^debugger: undefined$/m);
  }));

const NO_PROC = ("Deno" in globalThis && "npm starts Node") ||
  (process.platform !== "linux" && "only Linux shows the sockets of a process");

describe("a command behind npm", { skip: leftOut("a command behind npm", NO_PROC) }, () => {
  /** What the command was sent after `act`. @param event the npm script that it believes to be */
  async function sentAfter(act: (npm: Awaited<ReturnType<typeof startReady>>) => void): Promise<string> {
    let said = "";
    await withScratchFolder(async (folder) => {
      const [npmFile, file] = ["npm.mjs", "command.mjs"].map((name) => join(folder, name));
      writeFileSync(npmFile, NPM);
      writeFileSync(file, COMMAND);
      const npm = await startReady([npmFile, file], { npm_lifecycle_event: "train" });
      act(npm);
      while (!/SIG/.test(npm.said())) await new Promise((resolve) => setTimeout(resolve, 20));
      npm.child.kill("SIGKILL");
      await npm.closed; // by the command's end too, which has npm's output
      said = npm.said();
    });
    return said;
  }

  it("hears of the end of its npm as of its terminal's", async () => {
    assert.equal(await sentAfter(({ child }) => void process.kill(child.pid!, "SIGKILL")), "ready\nSIGHUP\n");
  });

  it("hears of a warning that npm answered with its debugger", async () => {
    assert.equal(await sentAfter(({ child }) => void child.stdin.write("listen\n")), "ready\nSIGUSR1\n");
  });
});
