/**
 * Hostile pytorch_model.bin files, made from real ones by a seed: each is refused by name, or read to the same kind
 * of harmless table. Nothing runs, hangs or fills the memory.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { BYTES_PER_ELEMENT } from "../../src/io/tensors/dtype.ts";
import { parseIndex } from "../../src/io/model/model_weights.ts";
import { readStateDict } from "../../src/io/torch/state_dict.ts";
import { readTorchBin } from "../../src/io/torch/reader.ts";
import { dataPosition, readZipDirectory } from "../../src/io/torch/zip_reader.ts";
import { memoryFile } from "../unit/memory_file.ts";
import {
  bombs,
  concat,
  cut,
  doubleRun,
  dropRun,
  flip,
  inject,
  insert,
  latin1,
  PAYLOADS,
  PICKLE_MUTATIONS,
  randomOf,
} from "./hostile_pickles.ts";

const SEED = 20240601;
const MAX_MS = 1000;
const MAX_GROWTH_BYTES = 100e6;

interface Outcome {
  refused: string | undefined;
  /** Of CPU time. */
  ms: number;
}

/** Of this process: other work on the machine does not count. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Runs `read` and checks that it ends in time, with a value or with an Error of ours. */
async function judge(what: string, read: () => unknown): Promise<Outcome> {
  const startMs = cpuMs();
  let refused: string | undefined;
  try {
    await read();
  } catch (error) {
    assert.equal((error as Error).constructor, Error, `${what}: ${(error as Error).stack}`);
    refused = (error as Error).message;
    assert.match(refused, /^Cannot read 'x\.bin': /, what);
    assert.ok(refused.length < 1000, `${what}: a message of ${refused.length} characters`);
  }
  const ms = cpuMs() - startMs;
  assert.ok(ms < MAX_MS, `${what} took ${ms} ms`);
  return { refused, ms };
}

/** Reads a pickle; what it gives is a table of numbers and names that fit each other. */
function readHarmless(pickle: Uint8Array): void {
  for (const [name, { storage, offset, shape, strides }] of readStateDict(pickle, "x.bin")) {
    assert.equal(typeof name, "string");
    assert.ok(storage.dtype in BYTES_PER_ELEMENT && typeof storage.key === "string");
    const last = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis], offset);
    assert.ok(shape.includes(0) || (offset >= 0 && last < storage.elements));
  }
}

async function realFile(folder: string): Promise<Uint8Array> {
  const path = new URL(`../golden/weights_files/${folder}/pytorch_model.bin`, import.meta.url);
  return new Uint8Array(await readFile(path));
}

async function realPickle(folder: string): Promise<Uint8Array> {
  const file = memoryFile(await realFile(folder));
  const directory = await readZipDirectory(file);
  const entry = directory.entries.get("pytorch_model/data.pkl")!;
  return await file.read(await dataPosition(file, directory, entry), entry.size);
}

/** What a prototype holds before and after: nothing may have been added. */
function prototypes(): string {
  return [Object, Array, Map, Function].map((type) => Reflect.ownKeys(type.prototype).map(String).join())
    .join(";");
}

/** Memory of the process, after what can be freed was freed where the runtime lets us. */
function residentBytes(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().rss;
}

describe("hostile pytorch_model.bin", () => {
  it("1,600 mutated pickles are refused by name or read to a harmless table", async (t) => {
    const before = prototypes();
    const startBytes = residentBytes();
    const outcomes: Outcome[] = [];
    for (const [f, folder] of ["single", "protocol4"].entries()) {
      const pickle = await realPickle(folder);
      readHarmless(pickle);
      for (const [m, [name, mutate]] of Object.entries(PICKLE_MUTATIONS).entries()) {
        const random = randomOf(SEED + 100 * f + m);
        for (let i = 0; i < 100; i++) {
          const mutant = mutate(pickle, random);
          outcomes.push(await judge(`${folder}, ${name} ${i}`, () => readHarmless(mutant)));
        }
      }
    }
    const growth = process.memoryUsage().rss - startBytes;
    const read = outcomes.filter(({ refused }) => refused === undefined).length;
    t.diagnostic(
      `${outcomes.length} mutants, ${read} read, slowest ${
        Math.max(...outcomes.map(({ ms }) => ms)).toFixed(1)
      } ms, +${(growth / 1e6).toFixed(0)} MB`,
    );
    assert.equal(outcomes.length, 1600);
    assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes more than before`);
    assert.equal(prototypes(), before);
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  });

  it("every payload that is reached is refused by its opcode", async () => {
    const pickle = await realPickle("single");
    for (const payload of PAYLOADS) {
      // Right behind the start, then as the first key's value, then in place of the whole.
      const first = Buffer.from(pickle).indexOf("X\x19\0\0\0model.embed", 0, "latin1");
      assert.ok(first > 0);
      for (
        const mutant of [
          insert(pickle, 2, payload),
          insert(pickle, first, payload),
          concat(latin1("\x80\x02"), payload, latin1(".")),
        ]
      ) {
        const { refused } = await judge(JSON.stringify(payload), () => readHarmless(mutant));
        assert.match(refused ?? "was read", /its pickle at byte \d+, [A-Z_0-9]+ \(0x..\): /);
      }
    }
  });

  it("a pickle's values count also where marks hide them, by name of what is too many", () => {
    const hidden = bombs().find(([what]) => what === "a million values below three marks")![1];
    assert.throws(() => readHarmless(hidden), /more than 524288 values wait/);
  });

  for (const [what, bomb] of bombs()) {
    it(`a pickle with ${what} is refused in time`, async (t) => {
      const startBytes = residentBytes();
      const { refused, ms } = await judge(what, () => readHarmless(bomb));
      const growth = process.memoryUsage().rss - startBytes;
      t.diagnostic(
        `${bomb.length} bytes, ${ms.toFixed(0)} ms, +${(growth / 1e6).toFixed(0)} MB: ${
          refused?.slice(0, 120)
        }`,
      );
      assert.ok(refused !== undefined);
      assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes more than before`);
    });
  }

  it("1,000 mutated files are refused by name or read inside themselves", async (t) => {
    const outcomes: Outcome[] = [];
    for (const [m, mutate] of [flip, cut, dropRun, doubleRun].entries()) {
      const file = await realFile("single");
      const random = randomOf(SEED + 1000 + m);
      for (let i = 0; i < 250; i++) {
        // Half of them where the directory is: elsewhere most hits are values, which may be anything.
        const head = i % 2 === 0 ? 0 : file.length - 2600;
        const mutant = concat(file.subarray(0, head), mutate(file.subarray(head), random));
        outcomes.push(
          await judge(`file ${m}.${i}`, async () => {
            const reader = await readTorchBin(memoryFile(mutant));
            for (const [name, { byteLength }] of reader.tensors) {
              assert.equal((await reader.read(name)).length, byteLength);
            }
          }),
        );
      }
    }
    const read = outcomes.filter(({ refused }) => refused === undefined).length;
    t.diagnostic(`${outcomes.length} files, ${read} read`);
    assert.equal(outcomes.length, 1000);
  });

  it("500 mutated indexes are refused by name or name files beside them", async () => {
    const path = new URL("../golden/weights_files/sharded/pytorch_model.bin.index.json", import.meta.url);
    const index = new Uint8Array(await readFile(path));
    const elsewhere = ["../", "/etc/", "..\\", "\\0", "a/b", "\\u002e\\u002e/", 'x":"', "__proto__"].map(
      latin1,
    );
    const random = randomOf(SEED + 2000);
    for (let i = 0; i < 500; i++) {
      const mutate = [flip, cut, dropRun, doubleRun, inject(elsewhere)][i % 5];
      await judge(`index ${i}`, () => {
        for (const file of parseIndex(mutate(index, random), "x.bin", ".bin").values()) {
          assert.match(file, /^[^/\\\0]+\.bin$/);
        }
      });
    }
  });
});
