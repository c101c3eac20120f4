/** The books of the KV cache. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import {
  blockBytes,
  blocksFor,
  blockShiftOf,
  createBlockList,
  decodeWidths,
  grownCapacity,
} from "../../src/policy/decode/kv_blocks.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";

const LLAMA_7B = parseModelConfig(
  JSON.stringify({
    model_type: "llama",
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    vocab_size: 32001,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-6,
    eos_token_id: 2,
  }),
  "config.json",
);

describe("a block list", () => {
  it("never has a block in two hands, and takes back what was given", () => {
    const steps = fc.array(fc.record({ take: fc.nat(6), give: fc.nat(20), extend: fc.nat(4) }), {
      maxLength: 40,
    });
    fc.assert(fc.property(steps, (steps) => {
      const list = createBlockList();
      const held: number[][] = [];
      for (const { take, give, extend } of steps) {
        list.resize(list.capacity + extend);
        if (take <= list.capacity - list.used) held.push(list.take(take));
        else assert.throws(() => list.take(take), /reserve them before/);
        if (give < held.length) list.free(held.splice(give, 1)[0]);
        const all = held.flat();
        assert.equal(new Set(all).size, all.length);
        assert.equal(list.used, all.length);
        assert.ok(all.every((block) => block >= 0 && block < list.capacity));
      }
    }));
  });
});

describe("the capacity of a cache", () => {
  it("holds what is needed, at most half more than that, and never more than can be needed", () => {
    const sizes = fc.record({
      before: fc.nat(500),
      more: fc.integer({ min: 1, max: 300 }),
      rest: fc.nat(500),
    });
    fc.assert(fc.property(sizes, ({ before, more, rest }) => {
      const needed = before + more;
      const capacity = grownCapacity(before, needed, needed + rest, 10_000);
      assert.ok(capacity >= needed && capacity <= Math.ceil(1.5 * needed) && capacity <= needed + rest);
    }));
  });

  it("stays within one binding, and says what to set when it cannot", () => {
    assert.equal(grownCapacity(80, 81, 300, 100), 100);
    assert.throws(() => grownCapacity(80, 101, 300, 100), /101 blocks.*takes 100.*kv_cache_dtype/);
  });
});

describe("the widths of decode plans", () => {
  it("fall by about half, from the batch down to four rows", () => {
    assert.deepEqual(decodeWidths(60), [60, 32, 16, 8, 4]);
    assert.deepEqual(decodeWidths(64), [64, 32, 16, 8, 4]);
    assert.deepEqual(decodeWidths(5), [5, 4]);
    assert.deepEqual(decodeWidths(1), [1]);
  });

  it("are few, and at least half of a plan's rows are used, or it is the narrowest", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 2000 }), (rows) => {
      const widths = decodeWidths(rows);
      assert.ok(widths.length <= 2 + Math.log2(rows));
      for (let i = 1; i < widths.length; i++) assert.ok(widths[i] < widths[i - 1]);
      for (let left = 1; left <= rows; left++) {
        const width = widths.findLast((width) => width >= left)!;
        assert.ok(2 * left > width - 8 || width === widths[widths.length - 1], `${left} rows in ${width}`);
      }
    }));
  });
});

describe("the bytes of a block", () => {
  it("of a 7B model are 16 MB a block of 16 tokens in f32, and half of it in 16 bits", () => {
    assert.equal(blockBytes(LLAMA_7B, 16, "f32"), 2 * 32 * 16 * 4096 * 4);
    assert.equal(blockBytes(LLAMA_7B, 16, "bf16") * 2, blockBytes(LLAMA_7B, 16, "f32"));
  });
});

describe("a block", () => {
  it("has a power of two of tokens, 2 at least", () => {
    assert.equal(blockShiftOf(16), 4);
    for (const wrong of [1, 0, 12, 2.5]) assert.throws(() => blockShiftOf(wrong), /power of two/);
    assert.equal(blocksFor(17, 16), 2);
    assert.equal(blocksFor(511, 16), 32);
    assert.equal(blocksFor(-1, 16), 0);
  });
});
