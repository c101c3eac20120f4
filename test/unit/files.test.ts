import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { openAppendLog } from "../../src/io/records/append_log.ts";
import {
  assertFolderCanBe,
  assertWritableFolder,
  makeFolders,
  removeStalePartials,
  writeDirectoryAtomic,
  writeFileAtomic,
} from "../../src/io/files/atomic_files.ts";
import { explainFsError } from "../../src/io/files/errors.ts";
import { stringifyExact } from "../../src/io/files/exact_json.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { leftOut } from "../left_out.ts";

test("writeFileAtomic() replaces the file, and keeps the old one when the writer fails", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "a.txt");
    await writeFileAtomic(path, "old");
    await assert.rejects(
      writeFileAtomic(path, async (handle) => {
        await handle.write(new Uint8Array(3));
        throw new Error("stopped half-way");
      }),
      /stopped half-way/,
    );
    assert.equal(await readFile(path, "utf8"), "old");
    await writeFileAtomic(path, new Uint8Array([104, 105]));
    assert.equal(await readFile(path, "utf8"), "hi");
    assert.deepEqual(await readdir(dir), ["a.txt"]);
  }));

test(
  "a full disk is explained, and nothing unfinished stays behind",
  { skip: !existsSync("/dev/full") && leftOut("a full disk is explained", "there is no /dev/full") },
  () =>
    withScratchFolder(async (dir) => {
      const target = join(dir, "checkpoint-1");
      await assert.rejects(
        writeDirectoryAtomic(target, () => writeFile("/dev/full", "x".repeat(100))),
        /required free disk space, but the disk is full \(ENOSPC\); free space, or set output_dir/,
      );
      assert.deepEqual(await readdir(dir), []);
    }),
);

test("a path through a file is explained; so are denied and read-only folders", () =>
  withScratchFolder(async (dir) => {
    await writeFile(join(dir, "file"), "");
    const inside = join(dir, "file", "below");
    await assert.rejects(assertWritableFolder(inside), /a folder at every step of the path.*ENOTDIR/);
    await assert.rejects(assertWritableFolder(join(dir, "file")), /correct the path or move that file away/);
    await assert.rejects(writeFileAtomic(inside, ""), /ENOTDIR/);
    await assert.rejects(writeFileAtomic(join(dir, "gone", "a"), ""), /does not exist \(ENOENT\)/);
    for (const [code, words] of [["EACCES", "permission denied"], ["EROFS", "read-only"]]) {
      const cause = Object.assign(new Error("raw"), { code });
      const explained = explainFsError(cause, "write", "/out") as Error;
      assert.match(
        explained.message,
        new RegExp(`^Cannot write '/out': required .*${words} \\(${code}\\); .*choose`),
      );
      assert.equal(explained.cause, cause);
    }
    const other = new Error("other");
    assert.equal(explainFsError(other, "write", "/out"), other);
  }));

const NO_PROC = process.platform !== "linux" && "there is no /proc";

test("a folder below /proc is an error at once, and no endless loop", {
  skip: leftOut("a folder below /proc", NO_PROC),
}, async () => {
  await assert.rejects(
    assertWritableFolder("/proc/no/such"),
    /Cannot write into the folder '\/proc\/no\/such'/,
  );
  await assert.rejects(
    assertFolderCanBe("/proc/no/such"),
    /'\/proc' takes none \(ENOENT\); choose a folder on a disk/,
  );
});

test("assertFolderCanBe() leaves nothing behind, and finds a file that is in the way", () =>
  withScratchFolder(async (dir) => {
    await assertFolderCanBe(join(dir, "a", "b"));
    await assertFolderCanBe(dir);
    assert.deepEqual(await readdir(dir), []);
    await writeFile(join(dir, "file"), "");
    for (const path of ["file", "file/a", "file/a/b"]) {
      await assert.rejects(
        assertFolderCanBe(join(dir, path)),
        /correct the path or move that file away/,
        path,
      );
    }
  }));

test("makeFolders() makes what is missing, of two at once too, and keeps what is there", () =>
  withScratchFolder(async (dir) => {
    await Promise.all([makeFolders(join(dir, "a", "b", "c")), makeFolders(join(dir, "a", "b", "d"))]);
    await makeFolders(join(dir, "a", "b"));
    assert.deepEqual((await readdir(join(dir, "a", "b"))).sort(), ["c", "d"]);
    await writeFile(join(dir, "file"), "");
    await assert.rejects(makeFolders(join(dir, "file")), { code: "EEXIST" });
    await assert.rejects(makeFolders(join(dir, "file", "below", "it")), { code: "ENOTDIR" });
  }));

test("assertWritableFolder() makes the folder and leaves it empty", () =>
  withScratchFolder(async (dir) => {
    await assertWritableFolder(join(dir, "a", "b"));
    assert.deepEqual(await readdir(join(dir, "a", "b")), []);
  }));

test("writeDirectoryAtomic() shows the folder only when it is complete, and replaces an older one wholly", () =>
  withScratchFolder(async (dir) => {
    const target = join(dir, "final");
    for (const name of ["first", "second"]) {
      await writeDirectoryAtomic(target, async (partial) => {
        await mkdir(join(partial, "sub"));
        await writeFile(join(partial, "sub", name), name);
        assert.equal(existsSync(join(target, "sub", name)), false);
      });
      assert.deepEqual(await readdir(join(target, "sub")), [name]);
    }
    assert.deepEqual(await readdir(dir), ["final"]);
  }));

test("what killed writers left is removed: of one folder when it is written again, all on request", () =>
  withScratchFolder(async (dir) => {
    const left = [
      ".a.partial-0123456789abcdef",
      ".b.replaced-0123456789abcdef",
      ".b.txt.partial-0123456789abcdef",
    ];
    for (const name of left) await mkdir(join(dir, name));
    await writeFile(join(dir, ".hidden"), "");
    await writeDirectoryAtomic(join(dir, "a"), async () => {});
    await mkdir(join(dir, "b"));
    assert.deepEqual((await readdir(dir)).sort(), [left[1], left[2], ".hidden", "a", "b"]);
    assert.deepEqual((await removeStalePartials(dir)).sort(), left.slice(1));
    assert.deepEqual((await readdir(dir)).sort(), [".hidden", "a", "b"]);
  }));

test("what a run that was killed amid replacing it has only under another name comes back; what was removed does not", () =>
  withScratchFolder(async (dir) => {
    for (const kind of ["replaced", "removed"]) {
      await mkdir(join(dir, `.${kind}-before.${kind}-0123456789abcdef`));
    }
    await removeStalePartials(dir);
    assert.deepEqual(await readdir(dir), ["replaced-before"]);
  }));

test("stringifyExact() round-trips every JSON value and double, -0 included, on one line or indented", () => {
  fc.assert(fc.property(fc.jsonValue({ noUnicodeString: false }), fc.constantFrom(0, 2), (value, indent) => {
    assert.deepEqual(JSON.parse(stringifyExact(value, indent)), value);
  }));
  fc.assert(fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (x) => {
    assert.ok(Object.is(JSON.parse(stringifyExact({ x })).x, x));
  }));
  const value = { b: [1, { c: "x" }], a: {}, d: [] };
  assert.equal(stringifyExact(value), JSON.stringify(value));
  assert.equal(stringifyExact(value, 2), JSON.stringify(value, null, 2));
});

test("stringifyExact() refuses what JSON would lose, and says where it is", () => {
  assert.throws(() => stringifyExact({ lambda: { ema: NaN } }), /Cannot write value\.lambda\.ema.*got NaN/);
  assert.throws(() => stringifyExact([1, Infinity]), /value\[1\]/);
  assert.throws(() => stringifyExact({ a: undefined }), /value\.a/);
  assert.throws(() => stringifyExact({ a: new Float32Array(1) }), /got a Float32Array/);
  assert.throws(() => stringifyExact([, 1]), /value\[0\]/); // a hole
  const loop: Record<string, unknown> = {};
  loop.self = loop;
  assert.throws(() => stringifyExact(loop), /value\.self as JSON: it contains itself/);
});

/** Steps 1..last, two rows at every third step, as a trainer with evaluations writes them. */
function writeRows(path: string, resumeStep: number, last: number): void {
  const log = openAppendLog(path, resumeStep);
  for (let step = resumeStep + 1; step <= last; step++) {
    log.append({ step, loss: step / 3 });
    if (step % 3 === 0) log.append({ step, eval: { safe_ratio: 1 / (step + 1) } });
  }
  log.sync();
  log.close();
}

test("a log cut at any byte by a kill and resumed from any earlier step ends as if never killed", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "metrics.jsonl");
    writeRows(path, -1, 12);
    const whole = await readFile(path);
    for (let cut = 0; cut <= whole.length; cut += 7) {
      // Newest checkpoint a killed run can have: all rows of its step are in the file.
      const rows = whole.subarray(0, cut).toString().split("\n").slice(0, -1).map((row) =>
        JSON.parse(row).step
      );
      const resumeStep = (rows.at(-1) ?? 0) - 1;
      await writeFile(path, whole.subarray(0, cut));
      writeRows(path, resumeStep, 12);
      assert.deepEqual(await readFile(path), whole, `cut at ${cut}, resumed at ${resumeStep}`);
    }
  }));

test("openAppendLog() with -1 starts anew, makes the file, and refuses bad steps and values", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "metrics.jsonl");
    writeRows(path, -1, 3);
    const log = openAppendLog(path, -1);
    assert.equal((await stat(path)).size, 0);
    log.append({ step: 2 });
    assert.throws(() => log.append({ step: 1 }), /required a whole step >= 2, got 1/);
    assert.throws(() => log.append({ step: 2.5 }), RangeError);
    assert.throws(() => log.append({ step: 3, loss: NaN }), /value\.loss.*got NaN/);
    log.close();
    assert.equal(await readFile(path, "utf8"), '{"step":2}\n');
    assert.throws(() => openAppendLog(path, -2), RangeError);
    assert.throws(() => openAppendLog(join(path, "x"), -1), /Cannot append.*ENOTDIR/);
  }));

test("a broken row before the resumed step stops the resume with its line, and changes nothing", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "metrics.jsonl");
    for (const broken of ["{oops}", "null", '{"step":"1"}', "\u0000\u0000"]) {
      const text = `{"step":1}\n${broken}\n{"step":2}\n`;
      await writeFile(path, text);
      assert.throws(
        () => openAppendLog(path, 2),
        /line 2 is required to be a JSON object with a whole "step"/,
      );
      assert.equal(await readFile(path, "utf8"), text);
    }
  }));
