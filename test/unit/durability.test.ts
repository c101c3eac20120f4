/** What a power cut may take: the order in which files are written, synced, renamed and removed. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { type FileHandle, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { mock, test } from "node:test";
import { openAppendLog } from "../../src/io/records/append_log.ts";
import {
  removeDirectoryAtomic,
  setAside,
  writeDirectoryAtomic,
  writeFileAtomic,
  writeFully,
} from "../../src/io/files/atomic_files.ts";
import { saveCheckpoint } from "../../src/io/records/checkpoint.ts";
import { writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { recordedSyncs, treeOf } from "./recorded_syncs.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { leftOut } from "../left_out.ts";

test("a file is on the disk, whole, before it takes the old one's place, and its folder after", () =>
  withScratchFolder(async (dir) => {
    await writeFile(join(dir, "a"), "old");
    assert.deepEqual(await recordedSyncs(dir, () => writeFileAtomic(join(dir, "a"), "new")), [
      { synced: ".a.partial-#", tree: { a: "old", ".a.partial-#": "new" } },
      { synced: "", tree: { a: "new" } },
    ]);
  }));

test("a file of tensors is synced like any other", () =>
  withScratchFolder(async (dir) => {
    const syncs = await recordedSyncs(dir, () => writeSafetensors(join(dir, "w"), []));
    assert.deepEqual(syncs.map(({ synced }) => synced), [".w.partial-#", ""]);
  }));

/** Fills a folder with a file and, deeper, another. */
async function fill(partial: string): Promise<void> {
  await writeFile(join(partial, "a"), "new a");
  await mkdir(join(partial, "sub"));
  await writeFile(join(partial, "sub", "b"), "new b");
}

const NEW = { final: null, "final/a": "new a", "final/sub": null, "final/sub/b": "new b" };

test("a folder takes the old one's place when all of it is on the disk, and the old one is there till then", () =>
  withScratchFolder(async (dir) => {
    await mkdir(join(dir, "final"));
    await writeFile(join(dir, "final", "a"), "old");
    const syncs = await recordedSyncs(dir, () => writeDirectoryAtomic(join(dir, "final"), fill));
    const last = syncs.pop()!;
    assert.deepEqual(last, { synced: "", tree: NEW });
    const partial = ".final.partial-#";
    const order = syncs.map(({ synced }) => synced);
    assert.deepEqual([...order].sort(), [partial, `${partial}/a`, `${partial}/sub`, `${partial}/sub/b`]);
    assert.ok(
      order.indexOf(`${partial}/sub/b`) < order.indexOf(`${partial}/sub`),
      "what a folder holds comes first",
    );
    assert.equal(order.at(-1), partial);
    for (const { tree } of syncs) {
      assert.equal(tree["final/a"], "old");
      assert.equal(tree[`${partial}/sub/b`], "new b");
    }
  }));

test("an older folder goes only after the new one stands in its place", () =>
  withScratchFolder(async (dir) => {
    const final = join(dir, "final");
    await mkdir(final);
    await writeFile(join(final, "a"), "old");
    const seen: string[] = [];
    await writeDirectoryAtomic(final, fill, {
      rename: async (from, to) => {
        const tree = await treeOf(dir);
        const old = Object.entries(tree).filter(([, text]) => text === "old").map(([path]) => path);
        seen.push(`rename with the old one at ${old}`);
        await rename(from, to);
      },
      rm: async (path, options) => {
        seen.push(`remove with ${await readFile(join(final, "a"), "utf8")} in place`);
        await rm(path, options);
      },
    });
    assert.deepEqual(seen, [
      "rename with the old one at final/a", // refused: the place is taken
      "rename with the old one at final/a",
      "rename with the old one at .final.replaced-#/a",
      "remove with new a in place",
    ]);
    assert.deepEqual(await treeOf(dir), NEW);
  }));

test("where the new folder cannot be put in place, the old one comes back", () =>
  withScratchFolder(async (dir) => {
    const final = join(dir, "final");
    await mkdir(final);
    await writeFile(join(final, "a"), "old");
    let renames = 0;
    const failing: typeof rename = async (from, to) => {
      if (++renames === 3) throw Object.assign(new Error("full"), { code: "ENOSPC" });
      await rename(from, to);
    };
    await assert.rejects(writeDirectoryAtomic(final, fill, { rename: failing, rm }), /ENOSPC/);
    assert.deepEqual(await treeOf(dir), { final: null, "final/a": "old" });
  }));

test("what a writer of another folder is filling is left alone, however alike the names are", () =>
  withScratchFolder(async (dir) => {
    const others = [".final2", ".final.old", ".xfinal"].map((name) => `${name}.partial-0123456789abcdef`);
    for (const name of [...others, ".final.partial-0123456789abcdef"]) await mkdir(join(dir, name));
    await writeDirectoryAtomic(join(dir, "final"), fill);
    assert.deepEqual((await readdir(dir)).sort(), [...others, "final"].sort());
  }));

test("a checkpoint's manifest is written when all that it names is on the disk under its own name", () =>
  withScratchFolder(async (dir) => {
    await writeFile(join(dir, "config.json"), "{}");
    const run = join(dir, "run");
    const syncs = await recordedSyncs(dir, () =>
      saveCheckpoint(run, {
        step: 3,
        weightsFile: "model.safetensors",
        weights: [],
        optimizer: [],
        state: null,
        modelFiles: [join(dir, "config.json")],
      }));
    const manifest = syncs.find(({ synced }) => synced.includes("checkpoint_manifest.json.partial"));
    const folder = "run/.checkpoint-3.partial-#";
    const names = ["config.json", "model.safetensors", "optimizer.safetensors", "trainer_state.json"];
    for (const name of names) {
      assert.ok(`${folder}/${name}` in manifest!.tree, `${name} stands before the manifest`);
      const synced = syncs.find(({ synced }) => synced === `${folder}/${name}`);
      assert.ok(synced, `${name} is synced`);
      assert.ok(!("run/checkpoint-3" in synced.tree), `${name} is synced before the checkpoint appears`);
    }
    assert.equal(syncs.at(-1)!.synced, "run");
    assert.ok("run/checkpoint-3" in syncs.at(-1)!.tree);
  }));

// Deno binds an import of node:fs once; what is set on the module later is not seen through it.
const skip = "Deno" in globalThis &&
  leftOut("sync() of a log flushes its own file", "Deno's node:fs cannot be watched from outside");

test(
  "sync() of a log flushes its own file, with every row appended so far in it",
  { skip },
  () =>
    withScratchFolder(async (dir) => {
      const path = join(dir, "metrics.jsonl");
      await writeFile(path, "of an older run");
      const flushed: { isLog: boolean; rows: string }[] = [];
      const flush = mock.method(fs, "fsyncSync", (descriptor: number) => {
        const isLog = fs.fstatSync(descriptor).ino === fs.statSync(path).ino;
        flushed.push({ isLog, rows: fs.readFileSync(path, "utf8") });
      });
      syncBuiltinESMExports();
      try {
        const log = openAppendLog(path, -1);
        log.append({ step: 1 });
        log.append({ step: 2 });
        assert.deepEqual(flushed, [], "a row costs no flush");
        log.sync();
        assert.deepEqual(flushed, [{ isLog: true, rows: '{"step":1}\n{"step":2}\n' }]);
        log.close();
      } finally {
        flush.mock.restore();
        syncBuiltinESMExports();
      }
    }),
);

test("writeFully() writes on where a write took less than it was given", async () => {
  const written: number[] = [];
  const slow = {
    write(bytes: Uint8Array, offset: number, length: number) {
      const bytesWritten = Math.min(3, length);
      written.push(...bytes.subarray(offset, offset + bytesWritten));
      return Promise.resolve({ bytesWritten });
    },
  };
  await writeFully(slow as unknown as FileHandle, Uint8Array.of(1, 2, 3, 4, 5, 6, 7));
  assert.deepEqual(written, [1, 2, 3, 4, 5, 6, 7]);
});

test("setAside() takes the first free number, keeps what is there, and leaves nothing where there is nothing", () =>
  withScratchFolder(async (dir) => {
    const run = join(dir, "run");
    assert.equal(await setAside(run), undefined);
    for (const number of [1, 2]) {
      await mkdir(run);
      await writeFile(join(run, "metrics.jsonl"), `${number}`);
      assert.equal(await setAside(run), `${run}.old-${number}`);
    }
    assert.deepEqual((await readdir(dir)).sort(), ["run.old-1", "run.old-2"]);
    assert.equal(await readFile(join(dir, "run.old-1", "metrics.jsonl"), "utf8"), "1");
  }));

test("removeDirectoryAtomic() removes the whole folder, and explains one that is not there", () =>
  withScratchFolder(async (dir) => {
    await mkdir(join(dir, "a", "b"), { recursive: true });
    await removeDirectoryAtomic(join(dir, "a"));
    assert.deepEqual(await readdir(dir), []);
    await assert.rejects(removeDirectoryAtomic(join(dir, "a")), /Cannot remove '.*a': .*ENOENT/);
  }));
