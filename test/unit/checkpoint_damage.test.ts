/** Checkpoints that must not be resumed, and what is said of them. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import {
  appendFile,
  copyFile,
  mkdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import {
  latestCheckpoint,
  loadCheckpoint,
  pruneCheckpoints,
  saveCheckpoint,
} from "../../src/io/records/checkpoint.ts";
import { leftOut } from "../left_out.ts";
import { contentOf } from "./checkpoint_content.ts";
import { withScratchFolder } from "./scratch_folder.ts";

interface Manifest {
  version: number;
  files: { name: string; size_bytes: number; sha256: unknown }[];
}

async function editManifest(dir: string, edit: (manifest: Manifest) => void): Promise<void> {
  const path = join(dir, "checkpoint_manifest.json");
  const manifest = JSON.parse(await readFile(path, "utf8"));
  edit(manifest);
  await writeFile(path, JSON.stringify(manifest));
}

async function flipBit(dir: string): Promise<void> {
  const bytes = await readFile(join(dir, "model.safetensors"));
  bytes[bytes.length - 1] ^= 1;
  await writeFile(join(dir, "model.safetensors"), bytes);
}

const DAMAGE: [string, (dir: string) => Promise<void>, RegExp][] = [
  [
    "without its manifest",
    (dir) => rm(join(dir, "checkpoint_manifest.json")),
    /checkpoint_manifest.json is missing/,
  ],
  [
    "with half a manifest",
    (dir) => truncate(join(dir, "checkpoint_manifest.json"), 40),
    /manifest.json is damaged/,
  ],
  [
    "with an empty manifest",
    (dir) => writeFile(join(dir, "checkpoint_manifest.json"), "null"),
    /version undefined/,
  ],
  [
    "with a manifest that points outside",
    async (dir) => {
      // Right in all else: a file lies there, of that size and hash.
      await copyFile(join(dir, "trainer_state.json"), join(dir, "..", "outside.json"));
      await editManifest(dir, (manifest) => {
        const state = manifest.files.find(({ name }) => name === "trainer_state.json")!;
        manifest.files.push({ ...state, name: "../outside.json" });
      });
    },
    /does not describe this folder/,
  ],
  [
    "of another version",
    (dir) => editManifest(dir, (manifest) => void (manifest.version = 2)),
    /checkpoint_manifest.json has version 2, required 1/,
  ],
  ...["optimizer.safetensors", "trainer_state.json", "model.safetensors"].map((
    missing,
  ): [string, (dir: string) => Promise<void>, RegExp] => [
    `with a manifest that does not name ${missing}`,
    (dir) =>
      editManifest(dir, (manifest) => {
        manifest.files = manifest.files.filter(({ name }) => name !== missing);
      }),
    /does not describe this folder/,
  ]),
  [
    "with a size that is no whole number",
    (dir) => editManifest(dir, ({ files }) => void (files[0].size_bytes = 1.5)),
    /does not describe this folder/,
  ],
  [
    "with a hash that is no text",
    (dir) => editManifest(dir, ({ files }) => void (files[0].sha256 = 7)),
    /does not describe this folder/,
  ],
  [
    "with cut weights",
    (dir) => truncate(join(dir, "model.safetensors"), 50),
    /model.safetensors is damaged.*got 50/,
  ],
  [
    "with longer state",
    (dir) => appendFile(join(dir, "trainer_state.json"), " "),
    /trainer_state.json is damaged/,
  ],
  [
    "without optimizer",
    (dir) => rm(join(dir, "optimizer.safetensors")),
    /optimizer.safetensors.*got no such file/,
  ],
  [
    "with weights that are a link",
    async (dir) => {
      await rename(join(dir, "model.safetensors"), join(dir, "..", "outside"));
      await symlink(join("..", "outside"), join(dir, "model.safetensors"));
    },
    /model.safetensors is damaged: required \d+ bytes \(by checkpoint_manifest.json\), got a link/,
  ],
  [
    "with a manifest that is a link",
    async (dir) => {
      await rename(join(dir, "checkpoint_manifest.json"), join(dir, "..", "outside"));
      await symlink(join("..", "outside"), join(dir, "checkpoint_manifest.json"));
    },
    /checkpoint_manifest.json is damaged: required a plain file .*, got a link/,
  ],
  [
    "with a device in the place of its optimizer",
    async (dir) => {
      await rm(join(dir, "optimizer.safetensors"));
      await symlink("/dev/zero", join(dir, "optimizer.safetensors"));
    },
    /optimizer.safetensors is damaged: .*got a link/,
  ],
  [
    "with a folder in the place of its state",
    async (dir) => {
      await rm(join(dir, "trainer_state.json"));
      await mkdir(join(dir, "trainer_state.json"));
    },
    /trainer_state.json is damaged: .*got a folder/,
  ],
  [
    "with a manifest without end",
    (dir) => truncate(join(dir, "checkpoint_manifest.json"), 2 ** 24 + 1),
    /checkpoint_manifest.json is damaged: .*at most 16777216 bytes, got 16777217 bytes/,
  ],
  ["with one flipped bit", flipBit, /model.safetensors is damaged: required SHA-256/],
];

for (const [what, damage, message] of DAMAGE) {
  test(`a checkpoint ${what} is refused, and latestCheckpoint() skips it and says why`, () =>
    withScratchFolder(async (dir) => {
      const good = await saveCheckpoint(dir, contentOf(4));
      const bad = await saveCheckpoint(dir, contentOf(9));
      await damage(bad);
      await assert.rejects(loadCheckpoint(bad), message);
      const latest = await latestCheckpoint(dir);
      assert.equal(latest.dir, good);
      assert.equal(latest.skipped[0].dir, bad);
      assert.match(latest.skipped[0].reason, message);
    }));
}

const NO_FIFO = process.platform === "win32" && "there is no mkfifo";
for (const name of ["checkpoint_manifest.json", "model.safetensors", "trainer_state.json"]) {
  test(`a pipe in the place of ${name} is refused at once: it is never opened`, {
    skip: leftOut("a pipe in a checkpoint", NO_FIFO),
  }, () =>
    withScratchFolder(async (dir) => {
      const good = await saveCheckpoint(dir, contentOf(4));
      const bad = await saveCheckpoint(dir, contentOf(9));
      await rm(join(bad, name));
      execFileSync("mkfifo", [join(bad, name)]);
      await assert.rejects(loadCheckpoint(bad), /got a device, pipe or socket; use another checkpoint/);
      const latest = await latestCheckpoint(dir);
      assert.equal(latest.dir, good);
      assert.ok(latest.skipped[0].reason.includes(name));
    }));
}

test("save_total_limit counts no checkpoint with a flipped bit: another good one stays beside the one just saved", () =>
  withScratchFolder(async (dir) => {
    for (const step of [1, 2, 3, 4]) await saveCheckpoint(dir, contentOf(step));
    for (const step of [2, 3]) await flipBit(join(dir, `checkpoint-${step}`));
    assert.deepEqual(await pruneCheckpoints(dir, 2, { newestStep: 4 }), []);
    await saveCheckpoint(dir, contentOf(5));
    const surplus = [1, 2, 3].map((step) => join(dir, `checkpoint-${step}`));
    assert.deepEqual(await pruneCheckpoints(dir, 2, { newestStep: 5 }), surplus);
    await flipBit(join(dir, "checkpoint-5"));
    assert.equal((await latestCheckpoint(dir)).dir, join(dir, "checkpoint-4"));
  }));

test("a manifest may not name a folder above, itself, or a path of more than one part", () =>
  withScratchFolder(async (dir) => {
    const good = await saveCheckpoint(dir, contentOf(4));
    await mkdir(join(good, "sub"));
    await copyFile(join(good, "trainer_state.json"), join(good, "sub", "a"));
    for (
      const name of ["..", ".", "sub/a", "./sub/a", "../checkpoint-4/trainer_state.json", "", "a\\b", "a\0b"]
    ) {
      await saveCheckpoint(dir, contentOf(4));
      await editManifest(good, ({ files }) => void files.push({ ...files[2], name }));
      await assert.rejects(loadCheckpoint(good), /does not describe this folder/, JSON.stringify(name));
    }
  }));

test("a state of another version is refused", () =>
  withScratchFolder(async (dir) => {
    const saved = await saveCheckpoint(dir, contentOf(4));
    const path = join(saved, "trainer_state.json");
    const text = (await readFile(path, "utf8")).replace('"version": 1', '"version": 7');
    await writeFile(path, text);
    const sha256 = createHash("sha256").update(text).digest("hex");
    await editManifest(saved, ({ files }) => {
      files.find(({ name }) => name === "trainer_state.json")!.sha256 = sha256;
    });
    await assert.rejects(loadCheckpoint(saved), /trainer_state.json has version 7, required 1/);
  }));

test("of several damaged checkpoints each is named, newest first", () =>
  withScratchFolder(async (dir) => {
    const [old, ...bad] = [
      await saveCheckpoint(dir, contentOf(1)),
      ...[2, 3].map((n) => join(dir, `checkpoint-${n}`)),
    ];
    for (const step of [2, 3]) await saveCheckpoint(dir, contentOf(step));
    await truncate(join(bad[0], "model.safetensors"), 50);
    await rm(join(bad[1], "trainer_state.json"));
    const latest = await latestCheckpoint(dir);
    assert.equal(latest.dir, old);
    assert.deepEqual(latest.skipped.map(({ dir }) => dir), [bad[1], bad[0]]);
    assert.match(latest.skipped[0].reason, /trainer_state.json is damaged.*got no such file/);
    assert.match(latest.skipped[1].reason, /model.safetensors is damaged.*got 50/);
  }));

test("a copied file of the model is as much a part of the checkpoint as its weights", () =>
  withScratchFolder(async (dir) => {
    await writeFile(join(dir, "config.json"), "{}");
    const modelFiles = [join(dir, "config.json")];
    const damages: [(path: string) => Promise<void>, RegExp][] = [
      [(path) => writeFile(path, "[]"), /config.json is damaged: required SHA-256/],
      [
        (path) => writeFile(path, "{ }"),
        /config.json is damaged: required 2 bytes \(by checkpoint_manifest\.json\), got 3/,
      ],
      [(path) => rm(path), /config.json is damaged: .*got no such file/],
    ];
    for (const [damage, words] of damages) {
      const saved = await saveCheckpoint(join(dir, "run"), { ...contentOf(4), modelFiles });
      await damage(join(saved, "config.json"));
      await assert.rejects(loadCheckpoint(saved), words);
    }
  }));
