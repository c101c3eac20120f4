/** The PNG scatter plot: a picture that readers open, with a dot where each completion is. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inflateSync } from "node:zlib";
import { crc32 } from "../../src/tracking/crc.ts";
import { Picture } from "../../src/tracking/png.ts";
import { scatterPng } from "../../src/tracking/scatter_png.ts";

/** The chunks of a PNG, their checksums held. */
function chunksOf(file: Uint8Array): Map<string, Uint8Array> {
  assert.deepEqual([...file.subarray(0, 8)], [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const view = new DataView(file.buffer, file.byteOffset);
  const chunks = new Map<string, Uint8Array>();
  for (let at = 8; at < file.length;) {
    const length = view.getUint32(at);
    assert.equal(view.getUint32(at + 8 + length), crc32(file.subarray(at + 4, at + 8 + length)));
    chunks.set(
      new TextDecoder().decode(file.subarray(at + 4, at + 8)),
      file.subarray(at + 8, at + 8 + length),
    );
    at += 12 + length;
  }
  return chunks;
}

/** The colour of each pixel. */
function pixelsOf(file: Uint8Array) {
  const chunks = chunksOf(file);
  const header = chunks.get("IHDR")!;
  const view = new DataView(header.buffer, header.byteOffset);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  assert.deepEqual([...header.subarray(8)], [8, 2, 0, 0, 0], "8-bit RGB");
  const raw = new Uint8Array(inflateSync(chunks.get("IDAT")!));
  assert.equal(raw.length, (width * 3 + 1) * height);
  const at = (x: number, y: number) => [...raw.subarray(y * (width * 3 + 1) + 1 + x * 3).subarray(0, 3)];
  return { width, height, at };
}

/** How many pixels off the edges are of a colour, and their middle. */
function middleOf({ width, height, at }: ReturnType<typeof pixelsOf>, isMeant: (rgb: number[]) => boolean) {
  const found: [x: number, y: number][] = [];
  for (let y = 120; y < height - 140; y++) {
    for (let x = 131; x < width - 42; x++) if (isMeant(at(x, y))) found.push([x, y]);
  }
  const mean = (axis: 0 | 1) => found.reduce((sum, place) => sum + place[axis], 0) / found.length;
  return { count: found.length, x: mean(0), y: mean(1) };
}

describe("the scatter plot as PNG", () => {
  it("is RGB rows under checksums that hold, and what is drawn is there", () => {
    const picture = new Picture(5, 3);
    picture.fill(1, 1, 2, 1, [10, 20, 30]);
    picture.blend(4, 2, [0, 0, 0], 0.5);
    picture.blend(5, 3, [0, 0, 0]); // beside it
    const { width, height, at } = pixelsOf(picture.encode());
    assert.deepEqual([width, height], [5, 3]);
    assert.deepEqual([at(1, 1), at(2, 1), at(3, 1)], [[10, 20, 30], [10, 20, 30], [255, 255, 255]]);
    assert.deepEqual(at(4, 2), [128, 128, 128]);
  });

  it("costs go right, rewards up: safe and helpful is the upper left, in its own colour", () => {
    const isGreen = ([r, g, b]: number[]) => g > r + 30 && g > b + 10;
    const isOrange = ([r, g, b]: number[]) => r > g + 40 && r > b + 60;
    // Others lie at the edges, where the counts are written.
    const [rewards, costs] = [[2, -2, 4, -4], [-3, 3, 4, -4]];
    const plot = pixelsOf(scatterPng({ title: "a model", rewards, costs }));
    const [safe, unsafe] = [middleOf(plot, isGreen), middleOf(plot, isOrange)];
    assert.ok(safe.count > 20 && unsafe.count > 20, `${safe.count} and ${unsafe.count} pixels`);
    assert.ok(safe.x < 400 && safe.y < 300, `safe and helpful at ${safe.x}, ${safe.y}`);
    assert.ok(unsafe.x > 800 && unsafe.y > 500, `unsafe and unhelpful at ${unsafe.x}, ${unsafe.y}`);
  });

  it("no point, points that are no numbers and a title of any letters make a picture too", () => {
    for (const [rewards, costs] of [[[], []], [[NaN, 1], [1, 1]], [[0], [0]]]) {
      assert.equal(pixelsOf(scatterPng({ title: "名前 ".repeat(99), rewards, costs })).width, 1200);
    }
  });
});
