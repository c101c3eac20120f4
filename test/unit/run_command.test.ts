/** scripts/run_command.mjs: exit codes as a shell counts them, and signals that reach the program behind the door. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { describe, it, type TestContext } from "node:test";
import { pathToFileURL } from "node:url";
import { readCommand, runCommand } from "../../scripts/run_command.mjs";
import { ROOT } from "./source_files.ts";
import { NO_SHELL } from "./stub_program.ts";
import { leftOut } from "../left_out.ts";

const sh = (script: string) => runCommand("/bin/sh", ["-c", script]);

describe("runCommand()", { skip: leftOut("runCommand()", NO_SHELL) }, () => {
  it("resolves to the exit code, 128 + n after signal n", async () => {
    assert.equal(await sh("exit 0"), 0);
    assert.equal(await sh("exit 3"), 3);
    assert.equal(await sh("kill -KILL $$"), 137);
    assert.equal(await sh("kill -TERM $$"), 143);
  });

  it("rejects when the program cannot be started", async () => {
    await assert.rejects(runCommand(join(ROOT, "no/such/program"), []), { code: "ENOENT" });
  });

  it("runs in the folder and with the variables that it is given", async () => {
    const options = { cwd: join(ROOT, "test"), env: { ...process.env, ASKED: "yes" } };
    const script = '[ "$(basename "$PWD")" = test ] && [ "$ASKED" = yes ]';
    assert.equal(await runCommand("/bin/sh", ["-c", script], options), 0);
  });

  it("survives a Ctrl-C that arrives late, and leaves no listener for signals behind after that", async () => {
    const signals = ["SIGTERM", "SIGHUP", "SIGINT"] as const;
    const counts = () => signals.map((signal) => process.listenerCount(signal));
    const others = () => process.listenerCount("SIGINT") - 1;
    await new Promise((resolve) => setTimeout(resolve, 1200)); // the listeners of the tests before
    const before = counts();
    await sh("exit 0");
    assert.equal(others(), before[2]);
    await new Promise((resolve) => setTimeout(resolve, 1200));
    assert.deepEqual(counts(), before);
  });
});

/**
 * A door of its own process group, with a program behind it that saves when it is asked to end, and exits with 7.
 * Resolves once the program listens.
 */
async function openDoor(t: TestContext): Promise<{ door: ChildProcess; ended: Promise<string> }> {
  const program = 'trap "echo saved; exit 7" TERM HUP INT; echo ready; while :; do sleep 0.05; done';
  const module = JSON.stringify(pathToFileURL(join(ROOT, "scripts/run_command.mjs")));
  const code = `import { runCommand } from ${module};
process.exitCode = await runCommand("/bin/sh", ["-c", ${JSON.stringify(program)}]);`;
  const args = "Deno" in globalThis
    ? ["eval", `import process from "node:process";${code}`]
    : ["--input-type=module", "--eval", code];
  const door = spawn(process.execPath, args, {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  t.after(() => {
    try {
      process.kill(-door.pid!, "SIGKILL");
    } catch {
      // Both have ended, as they should.
    }
  });
  let output = "";
  // Not "close": a program that is left behind keeps the pipe open.
  const ended = new Promise<string>((resolve) => {
    door.on("exit", (code, signal) => setImmediate(() => resolve(`${output.trim()}, ${signal ?? code}`)));
  });
  await new Promise<void>((resolve, reject) => {
    door.on("exit", () => reject(new Error(`the door ended early: ${output}`)));
    door.stdout!.on("data", (chunk) => (output += chunk).includes("ready") && resolve());
  });
  return { door, ended };
}

describe("the door of a program", { skip: leftOut("the door of a program", NO_SHELL) }, () => {
  for (const signal of ["SIGTERM", "SIGHUP"] as const) {
    it(`hands ${signal} on, waits until the program has saved, and exits as it does`, async (t) => {
      const { door, ended } = await openDoor(t);
      process.kill(door.pid!, signal);
      assert.equal(await ended, "ready\nsaved, 7");
    });
  }

  it("survives Ctrl-C, which reaches the program by itself, until that has saved", async (t) => {
    const { door, ended } = await openDoor(t);
    process.kill(-door.pid!, "SIGINT");
    assert.equal(await ended, "ready\nsaved, 7");
  });
});

describe("readCommand()", { skip: leftOut("readCommand()", NO_SHELL) }, () => {
  it("keeps exit code, stdout and stderr apart", async () => {
    const result = await readCommand("/bin/sh", ["-c", 'echo "$ASKED"; echo no >&2; exit 4'], {
      env: { ASKED: "yes" },
    });
    assert.deepEqual(result, { code: 4, stdout: "yes\n", stderr: "no\n" });
    assert.equal((await readCommand("/bin/sh", ["-c", "exit 0"])).code, 0);
  });

  it("counts a program that hangs as failed", async () => {
    const { code } = await readCommand("/bin/sh", ["-c", "exec sleep 600"], { timeoutMs: 50 });
    assert.equal(code, 1);
  });

  it("counts a program that is not there as failed, says so, and keeps no timer that holds up the end", async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    const { code, stderr } = await readCommand(join(ROOT, "no/such/program"), []);
    assert.equal(code, 1);
    assert.match(stderr, /ENOENT/);
    assert.equal(timers(), before);
  });
});
