/** Pages of Parquet columns that claim more than there is: refused before the decoder makes room for it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertPages } from "../../src/io/prompts/parquet_pages.ts";

function varint(value: number): number[] {
  return value < 128 ? [value] : [value % 128 + 128, ...varint(Math.floor(value / 128))];
}

const DATA_PAGE = 5;
const DATA_PAGE_V2 = 8;

/** A page of five bytes whose header has that many values in the struct of that field. */
function page(field: number, values: number, size = 5): number[] {
  const zigzag = values < 0 ? -2 * values - 1 : 2 * values;
  const sizes = [0x15, 0, 0x15, 10, 0x15, 2 * size];
  return [
    ...sizes,
    (field - 3) * 16 + 12,
    0x15,
    ...varint(zigzag),
    0x18,
    2,
    7,
    7,
    0,
    0,
    ...new Array(5).fill(1),
  ];
}

const bytes = (...pages: number[][]) => Uint8Array.from(pages.flat());

test("pages whose values are those of their column pass, however many pages there are", () => {
  assertPages(bytes(page(DATA_PAGE, 3), page(DATA_PAGE_V2, 4), page(DATA_PAGE, 0)), 4);
});

test("a page that claims more values than its column has, or fewer than none, is refused", () => {
  for (const field of [DATA_PAGE, DATA_PAGE_V2]) {
    assert.throws(() => assertPages(bytes(page(DATA_PAGE, 3), page(field, 2 ** 30)), 3), {
      name: "RangeError",
      message: "a page claims to hold 1073741824 values, of 3 in its column",
    });
    assert.throws(() => assertPages(bytes(page(field, -1)), 3), /claims to hold -1 values/);
  }
});

test("a column that claims as many itself does not help such a page", () => {
  assert.throws(
    () => assertPages(bytes(page(DATA_PAGE, 2 ** 30)), 2 ** 31),
    /claims to hold 1073741824 values/,
  );
});

test("a header that ends amid a value, or is none, is refused", () => {
  assert.throws(() => assertPages(bytes(page(DATA_PAGE, 300).slice(0, 8)), 300), /ends amid a value/);
  assert.throws(() => assertPages(Uint8Array.from([0x1f, 0, 0]), 1), /holds a value of type 15/);
  assert.throws(() => assertPages(Uint8Array.from(new Array(100).fill(0x1c)), 1), /nested too deeply/);
});
