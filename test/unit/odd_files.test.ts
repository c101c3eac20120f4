/** What may lie in a file's place, tried on every reader that there is. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { describe, it, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openFileBytes, piecesOf } from "../../src/io/files/file_bytes.ts";
import { importModule } from "../../src/io/files/user_module.ts";
import { readBytes, readText } from "../../src/io/files/whole_file.ts";
import { rowsOfFile } from "../../src/io/prompts/row_files.ts";
import { randomOf } from "../chaos/hostile_pickles.ts";
import { compileChatTemplate } from "../../src/io/tokenizer/chat_template.ts";
import { FORMATS } from "../chaos_runs/fuzz/formats.ts";
import { mutantOf } from "../chaos_runs/fuzz/mutants.ts";
import { leftOut } from "../left_out.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const NO_PIPES = process.platform === "win32" && "has no pipes and devices among its files";
/** A reader that waits for a pipe waits for ever. */
const ANSWER_MS = 20_000;

/** Checkpoints and the log of a run, whose own tests try this. */
const OWN_TESTS = /^(checkpoint|trainer)_|resume/;
const READERS = FORMATS.filter(({ name }) => !OWN_TESTS.test(name));

const LFS_POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${"ab".repeat(32)}\nsize 123\n`;

/** What may stand in a file's place. */
const ODD: Readonly<Record<string, { put: (path: string) => void; words: RegExp }>> = {
  "a pipe": {
    put: (path) => execFileSync("mkfifo", [path], { env: { PATH: "/usr/bin:/bin" } }),
    words: /got a pipe|pipe or device/,
  },
  "/dev/zero": {
    put: (path) => symlinkSync("/dev/zero", path),
    words: /got a device|pipe or device/,
  },
  "a folder": { put: (path) => mkdirSync(path), words: /EISDIR|a folder/ },
};

/** The error of `read`. @throws when it does not answer */
async function refusalOf(read: () => unknown): Promise<Error> {
  const reading = Promise.resolve().then(read).then(
    () => new Error("it was read"),
    (error: Error) => error,
  );
  const waiting = new AbortController();
  const timeout = sleep(ANSWER_MS, new Error("no answer: it waits"), { signal: waiting.signal });
  try {
    return await Promise.race([reading, timeout]);
  } finally {
    waiting.abort();
    await timeout.catch(() => {});
  }
}

describe("in the place of a file", { skip: leftOut("pipes and devices as files", NO_PIPES) }, () => {
  for (const [what, { put, words }] of Object.entries(ODD)) {
    it(`${what} is refused by every reader, by name, and never waited for`, () =>
      withScratchFolder(async (scratch) => {
        for (const [i, format] of READERS.entries()) {
          const dir = join(scratch, `${i}`);
          mkdirSync(dir);
          await format.prepare?.(dir);
          const path = join(dir, format.file);
          rmSync(path, { force: true });
          put(path);
          const { message } = await refusalOf(() => format.read(dir));
          assert.match(message, words, format.name);
          assert.ok(message.includes(basename(format.file)), `${format.name}: ${message}`);
        }
      }));
  }

  it("a socket, a link to itself, and a module that is a pipe, are refused too", () =>
    withScratchFolder(async (dir) => {
      const socket = join(dir, "socket");
      const server = createServer().listen(socket);
      await new Promise((resolve) => server.once("listening", resolve));
      assert.match(
        (await refusalOf(() => readText(socket, "read"))).message,
        /socket': required a file, got a socket/,
      );
      server.close();
      const loop = join(dir, "loop");
      symlinkSync("loop", loop);
      assert.match(
        (await refusalOf(() => readText(loop, "read"))).message,
        /loop': .*links lead in a circle \(ELOOP\)/,
      );
      const module = join(dir, "judge.mjs");
      ODD["a pipe"].put(module);
      assert.match(
        (await refusalOf(() => importModule(module))).message,
        /judge\.mjs': required a file, got a pipe/,
      );
    }));
});

test("a Git LFS pointer is named as such by every reader of files that may be large", () =>
  withScratchFolder(async (scratch) => {
    // What runs write themselves was never in a repository; the scorer's address takes a line.
    const own = /^(metrics|samples|run_config|the scorer)/;
    for (const [i, format] of READERS.filter(({ name }) => !own.test(name)).entries()) {
      const dir = join(scratch, `${i}`);
      mkdirSync(dir);
      await format.prepare?.(dir);
      const path = join(dir, format.file);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, LFS_POINTER);
      const { message } = await refusalOf(() => format.read(dir));
      assert.match(message, /git lfs pull/, format.name);
      assert.ok(message.includes(basename(format.file)), `${format.name}: ${message}`);
    }
  }));

test("a file far longer than it can be is not read, and one of prompts beyond 2 GiB is read in pieces", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "long");
    writeFileSync(path, '{"prompt": "a"}\n');
    truncateSync(path, 2 ** 31 + 2 ** 20); // a hole: it takes no room
    await assert.rejects(
      readBytes(path, "read"),
      /Cannot read '.*long': required at most 268435456 bytes, got 2148532224/,
    );
    const rows = rowsOfFile(path);
    const { value } = await rows.next();
    assert.deepEqual(value!.read(), { prompt: "a" });
    await rows.return(undefined);
    const bytes = await openFileBytes(path);
    const last: Uint8Array[] = [];
    for await (const piece of piecesOf(bytes, 2 ** 20, 2 ** 31)) last.push(piece);
    await bytes.close();
    assert.deepEqual(last.map(({ length }) => length), [2 ** 20]);
  }));

test("a Parquet file whose end contradicts itself is refused, and what was begun of it ends no process", () =>
  withScratchFolder(async (dir) => {
    const format = FORMATS.find(({ file }) => file === "p.parquet")!;
    // The first mutant that did: the error of a column came after the one that was waited for.
    const bytes = mutantOf(format.seeds(dir), format.shape, randomOf(20250701 + 216));
    writeFileSync(join(dir, format.file), bytes);
    assert.match((await refusalOf(() => format.read(dir))).message, /p\.parquet'/);
    await sleep(50);
  }));

test("a chat template that loops without end, or doubles a text, is given up in words", () => {
  const render = (text: string) => compileChatTemplate({ text, source: "t.jinja" }).render([], {});
  const loops = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
  assert.throws(
    () => render(loops),
    /chat template of t\.jinja cannot be followed: it takes more than 500000 steps/,
  );
  const doubles =
    "{% set n = namespace(x='ab') %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}";
  assert.throws(
    () => render(doubles),
    /t\.jinja cannot be followed: a text or list in it is longer than 16777216/,
  );
});
