/** io/files/folder_lock.ts: who holds a folder, who may take it over, and that one of many has it. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { lockFolder, lockOf, type Owner, type Surroundings } from "../../src/io/files/folder_lock.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const NOW = Date.UTC(2030, 0, 1);

/** A machine with these processes. */
function machine(
  self: Partial<Owner> = {},
  processes: Readonly<Record<number, string>> = { 10: "boot 1" },
): Surroundings {
  return {
    self: { host: "here", pid: 10, process: "boot 1", job: "", ...self },
    processOf: (pid) => processes[pid] ?? null,
    now: () => NOW,
    patienceMs: 0,
  };
}

const withRun = (body: (folder: string) => Promise<void>) =>
  withScratchFolder((dir) => body(join(dir, "run")));

/** A note as of somebody else, said so many seconds ago. */
function leaveNote(folder: string, owner: Partial<Owner>, ageS = 0): void {
  const note: Owner = { host: "here", pid: 20, process: "boot 2", job: "", since: "then", ...owner };
  writeFileSync(lockOf(folder), JSON.stringify(note));
  const said = new Date(NOW - 1000 * ageS);
  utimesSync(lockOf(folder), said, said);
}

const REFUSED =
  /^Error: Cannot train in ".*run": process 20 on \w+ has been at it since then\. .*remove ".*\.run\.lock"$/;

describe("a folder", () => {
  it("is held until it is released, by a note beside it that says by whom", () =>
    withRun(async (folder) => {
      const lock = await lockFolder(folder, machine());
      assert.equal(lock.before, null);
      const note = JSON.parse(readFileSync(lockOf(folder), "utf8"));
      assert.deepEqual(note, { ...machine().self, since: new Date(NOW).toISOString() });
      await assert.rejects(lockFolder(folder, machine({ pid: 11, process: "boot 3" })), /process 10 on here/);
      lock.release();
      assert.equal(existsSync(lockOf(folder)), false);
      (await lockFolder(folder, machine())).release();
    }));

  it("of a process that is there is refused, with what to do", () =>
    withRun(async (folder) => {
      leaveNote(folder, {});
      await assert.rejects(lockFolder(folder, machine({}, { 20: "boot 2" })), REFUSED);
      // Where the system cannot tell processes of one number apart, it may be that one.
      await assert.rejects(lockFolder(folder, machine({}, { 20: "" })), REFUSED);
      assert.deepEqual(readdirSync(join(folder, "..")), [basename(lockOf(folder))]);
    }));

  it("of a process that is gone, or whose number another one has, is taken over", () =>
    withRun(async (folder) => {
      for (const processes of [{}, { 20: "boot 4" }] as Record<number, string>[]) {
        leaveNote(folder, {});
        const lock = await lockFolder(folder, machine({}, processes));
        assert.equal(lock.before?.pid, 20);
        lock.release();
      }
    }));

  it("of a process that ends within a moment is taken over then: a killed job may come back before its ranks are gone", () =>
    withRun(async (folder) => {
      leaveNote(folder, {});
      const processes: Record<number, string> = { 20: "boot 2" };
      const taken = lockFolder(folder, { ...machine({}, processes), patienceMs: 60_000 });
      setTimeout(() => delete processes[20], 150);
      assert.equal((await taken).before?.pid, 20);
    }));

  it("of another machine is taken over once nothing has been heard of it for five minutes", () =>
    withRun(async (folder) => {
      leaveNote(folder, { host: "there" }, 299);
      await assert.rejects(lockFolder(folder, machine()), REFUSED);
      leaveNote(folder, { host: "there" }, 301);
      (await lockFolder(folder, machine())).release();
    }));

  it("is its own job's, wherever a cluster starts that again", () =>
    withRun(async (folder) => {
      leaveNote(folder, { host: "there", job: "7" });
      await assert.rejects(lockFolder(folder, machine({ job: "8" })), REFUSED);
      (await lockFolder(folder, machine({ job: "7" }))).release();
    }));

  it("with a note that says nothing is taken over", () =>
    withRun(async (folder) => {
      for (const text of ["", "{", "[]", '{"host":"here"}']) {
        writeFileSync(lockOf(folder), text);
        const lock = await lockFolder(folder, machine());
        assert.equal(lock.before, null);
        lock.release();
      }
    }));

  it("is had by one of many that take it over at once, and the others are told by whom", () =>
    withRun(async (folder) => {
      leaveNote(folder, {});
      const all = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [i + 100, `boot ${i + 100}`]));
      const tries = await Promise.allSettled(
        Object.keys(all).map((pid) =>
          lockFolder(folder, machine({ pid: Number(pid), process: all[Number(pid)] }, all))
        ),
      );
      const locks = tries.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
      assert.equal(locks.length, 1);
      for (const one of tries) {
        if (one.status === "rejected") assert.match(String(one.reason), /Cannot train in/);
      }
      locks[0].release();
      assert.deepEqual(readdirSync(join(folder, "..")), []);
    }));

  it("that another has taken is not let go by the one that had it before", () =>
    withRun(async (folder) => {
      const lock = await lockFolder(folder, machine());
      leaveNote(folder, {});
      lock.release();
      assert.equal(JSON.parse(readFileSync(lockOf(folder), "utf8")).pid, 20);
    }));
});
