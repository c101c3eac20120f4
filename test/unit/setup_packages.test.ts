/** scripts/setup_packages.mjs: when packages are installed, and by how many at a time. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { ensurePackages } from "../../scripts/setup_packages.mjs";
import { withScratchFolder } from "./scratch_folder.ts";
import { asRuntime, callsOf, complaintsOf, NO_SHELL, writeStub } from "./stub_program.ts";
import { leftOut } from "../left_out.ts";

const RUNS_IN_DENO = "Deno" in globalThis;
const LOCKED = {
  "": { version: "1.0.0" },
  "node_modules/a": { version: "1.2.3" },
  "node_modules/tester": { version: "2.0.0", dev: true },
  "node_modules/for-macs": { version: "3.0.0", optional: true },
};

function writeJson(path: string, value: unknown): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, JSON.stringify(value));
}

interface Checkout {
  root: string;
  stamp: string;
  lock: string;
  ensure(want: { dev: boolean }): Promise<boolean>;
  /** The arguments of each installation so far. */
  installs(): string[];
  /** What was said on the terminal. */
  said(): string;
  /** Has the installer fail from now on. */
  breakInstaller(code: number): void;
}

/** A checkout with lock files, whose installer makes an empty node_modules. */
function withCheckout(body: (checkout: Checkout) => Promise<void>): Promise<void> {
  return withScratchFolder(async (root) => {
    const installer = join(root, "installer");
    const npm = process.env.npm_execpath;
    process.env.npm_execpath = join(root, "npm-cli.js");
    writeJson(join(root, "package-lock.json"), { packages: LOCKED });
    writeJson(join(root, "deno.lock"), { version: "5" });
    writeStub(installer, 'mkdir -p "$PWD/node_modules"');
    let said = "";
    const ensure = async (want: { dev: boolean }) => {
      let installed: boolean | undefined;
      said += await complaintsOf(() =>
        asRuntime(installer, async () => {
          installed = await ensurePackages(root, want);
        })
      );
      return installed!;
    };
    try {
      await body({
        root,
        stamp: join(root, "node_modules", ".setup-stamp"),
        lock: join(root, ".setup", "install.lock"),
        ensure,
        installs: () => callsOf(installer),
        said: () => said,
        breakInstaller: (code) => writeStub(installer, `exit ${code}`),
      });
    } finally {
      if (npm === undefined) delete process.env.npm_execpath;
      else process.env.npm_execpath = npm;
    }
  });
}

describe("packages that are missing", { skip: leftOut("packages that are missing", NO_SHELL) }, () => {
  it("are installed once, by the locked versions alone, without scripts of packages", () =>
    withCheckout(async ({ root, lock, ensure, installs, said }) => {
      assert.equal(await ensure({ dev: false }), true);
      assert.equal(await ensure({ dev: false }), false);
      const [call, ...more] = installs();
      assert.deepEqual(more, []);
      assert.equal(
        call,
        RUNS_IN_DENO
          ? "install --frozen"
          : `${join(root, "npm-cli.js")} ci --omit=dev --ignore-scripts --no-audit --no-fund`,
      );
      assert.match(said(), /Installing packages into .*node_modules \(once; needs the npm registry\)/);
      assert.equal(existsSync(lock), false);
    }));

  it("of developers are added where those of users are there", () =>
    withCheckout(async ({ stamp, ensure, installs }) => {
      await ensure({ dev: false });
      // Deno always installs everything, and says so.
      const { locks } = JSON.parse(readFileSync(stamp, "utf8"));
      writeJson(stamp, { locks, dev: false });
      assert.equal(await ensure({ dev: true }), true);
      if (!RUNS_IN_DENO) assert.match(installs()[1], / --include=dev /);
      assert.equal(await ensure({ dev: true }), false);
      assert.equal(await ensure({ dev: false }), false);
      assert.equal(installs().length, 2);
    }));

  for (const name of ["package-lock.json", "deno.lock"]) {
    it(`are installed again when ${name} has changed`, () =>
      withCheckout(async ({ root, ensure, installs }) => {
        await ensure({ dev: true });
        writeFileSync(join(root, name), `${readFileSync(join(root, name), "utf8")}\n`);
        assert.equal(await ensure({ dev: true }), true);
        assert.equal(installs().length, 2);
      }));
  }

  it("are installed where a full disk left half of what an installation notes", () =>
    withCheckout(async ({ root, stamp, ensure }) => {
      await ensure({ dev: true });
      const npmsNote = join(root, "node_modules", ".package-lock.json");
      for (const text of ["", '{"locks": "0']) {
        writeFileSync(stamp, text);
        writeFileSync(npmsNote, text);
        assert.equal(await ensure({ dev: true }), true);
      }
      assert.equal(await ensure({ dev: true }), false);
    }));

  it("and cannot be installed: the error says how it failed, and the next start tries again", () =>
    withCheckout(async ({ stamp, lock, ensure, installs, breakInstaller }) => {
      breakInstaller(9);
      const failure = /Cannot install the packages: .* exited with 9; .* then run the same command again/;
      await assert.rejects(ensure({ dev: true }), failure);
      assert.deepEqual([existsSync(stamp), existsSync(lock)], [false, false]);
      await assert.rejects(ensure({ dev: true }), failure);
      assert.equal(installs().length, 2);
    }));
});

describe("packages that npm installed by itself", {
  skip: leftOut("packages that npm installed by itself", NO_SHELL),
}, () => {
  const installed = (root: string, changes: Record<string, { version: string }> = {}) => {
    const all: Record<string, { version: string }> = {
      "node_modules/a": LOCKED["node_modules/a"],
      "node_modules/tester": LOCKED["node_modules/tester"],
      ...changes,
    };
    for (const path of Object.keys(all)) mkdirSync(join(root, path), { recursive: true });
    writeJson(join(root, "node_modules", ".package-lock.json"), { packages: all });
  };

  it("are taken as they are, optional ones or not", () =>
    withCheckout(async ({ root, ensure, installs }) => {
      installed(root);
      assert.equal(await ensure({ dev: true }), false);
      assert.deepEqual(installs(), []);
    }));

  it("are not enough when another version is locked, or one has no folder", () =>
    withCheckout(async ({ root, stamp, ensure }) => {
      installed(root, { "node_modules/a": { version: "1.2.2" } });
      assert.equal(await ensure({ dev: false }), true);
      rmSync(stamp);
      installed(root);
      rmSync(join(root, "node_modules/a"), { recursive: true });
      assert.equal(await ensure({ dev: false }), true);
    }));

  it("without those of developers serve users alone", () =>
    withCheckout(async ({ root, ensure }) => {
      installed(root, { "node_modules/tester": { version: "0.0.1" } });
      assert.equal(await ensure({ dev: false }), false);
      assert.equal(await ensure({ dev: true }), true);
    }));
});

describe("the lock of an installation", { skip: leftOut("the lock of an installation", NO_SHELL) }, () => {
  const gonePid = () => spawnSync("/bin/sh", ["-c", "exit 0"]).pid;

  it("has a second job of the same checkout wait, and take what the first installed", () =>
    withCheckout(async ({ stamp, lock, ensure, installs }) => {
      await ensure({ dev: true });
      const done = readFileSync(stamp);
      rmSync(stamp);
      mkdirSync(join(lock, ".."), { recursive: true });
      writeFileSync(lock, `${hostname()} ${process.pid}`);
      const second = ensure({ dev: true });
      writeFileSync(stamp, done);
      rmSync(lock);
      await second;
      assert.equal(installs().length, 1);
      assert.equal(existsSync(lock), false);
    }));

  it("is taken from an installation that was killed, at the next look", () =>
    withCheckout(async ({ lock, ensure, installs }) => {
      mkdirSync(join(lock, ".."), { recursive: true });
      writeFileSync(lock, `${hostname()} ${gonePid()}`);
      const start = ensure({ dev: true });
      // It has looked once by now.
      const isTaken = !existsSync(lock);
      if (!isTaken) rmSync(lock);
      await start;
      assert.ok(isTaken, "the lock of a process that is gone was respected");
      assert.equal(installs().length, 1);
    }));

  it("is left to a job of another machine, and to one that is still running", () =>
    withCheckout(async ({ stamp, lock, ensure, installs }) => {
      await ensure({ dev: true });
      const done = readFileSync(stamp);
      mkdirSync(join(lock, ".."), { recursive: true });
      for (const holder of [`another-machine ${gonePid()}`, `${hostname()} ${process.pid}`]) {
        rmSync(stamp);
        writeFileSync(lock, holder);
        const waiting = ensure({ dev: true });
        const isHeld = existsSync(lock);
        writeFileSync(stamp, done);
        rmSync(lock, { force: true });
        await waiting;
        assert.ok(isHeld, `took the lock of ${holder}`);
      }
      assert.equal(installs().length, 1);
    }));

  it("that is not given up soon is told of, with the machine that holds it and the file to delete", () =>
    withCheckout(async ({ stamp, lock, ensure, said }) => {
      await ensure({ dev: true });
      const done = readFileSync(stamp);
      rmSync(stamp);
      mkdirSync(join(lock, ".."), { recursive: true });
      writeFileSync(lock, "another-machine 123");
      const waiting = ensure({ dev: true });
      await new Promise((resolve) => setTimeout(resolve, 2500));
      writeFileSync(stamp, done);
      rmSync(lock);
      await waiting;
      const line =
        `${lock} is held by process 123 of another-machine; delete it if nothing is installing there`;
      assert.equal(said().split(line).length, 2, said());
    }));
});
