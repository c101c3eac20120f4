/** How far training moved the weights: sums over files against sums worked out plainly, and what a report says. */
import assert from "node:assert/strict";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { measureRun, writeWeightChange } from "../../src/assembly/weight_change.ts";
import { lowRankSquare, squaredChange } from "../../src/assembly/weight_norms.ts";
import { readRun } from "../../src/assembly/run_records.ts";
import { openModelFolder } from "../../src/io/model/model_folder.ts";
import { f32ToBytes } from "../../src/io/tensors/dtype.ts";
import { writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { comparisonPage, runPage } from "../../src/tracking/report_page.ts";
import { changeOf, parseWeightChange, type WeightChange } from "../../src/tracking/weight_change.ts";
import { randomFloats } from "../cases/case.ts";
import { runOf } from "./run_of.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";

const MODEL = join(ROOT, "models/quickstart/policy");
const START = { name: "start", dir: MODEL, adapterDir: null };
const floats = (seed: number, count: number) => Float32Array.from(randomFloats(seed, count, 1));

const changeIn = async (dir: string): Promise<WeightChange> =>
  parseWeightChange(JSON.parse(await readFile(join(dir, "weight_change.json"), "utf8")), "there");
const near = (found: number, wanted: number, relative = 1e-12) =>
  assert.ok(Math.abs(found - wanted) <= relative * wanted, `${found}, plainly ${wanted}`);

/** The quickstart's model with tensors changed by `added`, as a run leaves it. */
async function writeTrained(dir: string, added: Readonly<Record<string, number>>, dtype: "F32" | "BF16") {
  await cp(MODEL, dir, { recursive: true });
  const { source, close } = await openModelFolder(MODEL);
  const tensors = [];
  for (const name of source.names()) {
    const values = (await source.read(name)).map((value) => value + (added[name] ?? 0));
    tensors.push({ name, dtype, shape: source.shapeOf(name)!, bytes: f32ToBytes(values, dtype) });
  }
  await close();
  await rm(join(dir, "model.safetensors"));
  await writeSafetensors(join(dir, "model.safetensors"), tensors);
}

describe("sums of squares", () => {
  it("are those of the difference and of the start, also where one is small beside the other", () => {
    const before = floats(1, 1001);
    const after = before.map((value) => value + 2 ** -20);
    const { change, start } = squaredChange(after, before);
    let wanted = 0;
    for (let i = 0; i < 1001; i++) wanted += (after[i] - before[i]) ** 2;
    near(change, wanted);
    near(start, before.reduce((sum, value) => sum + value ** 2, 0), 1e-9);
  });

  it("of a sum of low-rank products are those of the product formed, of one term and of a difference", () => {
    const [rows, columns] = [7, 5];
    const terms = [
      { scale: 2, rank: 3, a: floats(3, 15), b: floats(4, 21) },
      { scale: -0.5, rank: 2, a: floats(5, 10), b: floats(6, 14) },
    ];
    for (const used of [terms.slice(0, 1), terms]) {
      let wanted = 0;
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          let value = 0;
          for (const { scale, rank, a, b } of used) {
            for (let r = 0; r < rank; r++) value += scale * b[i * rank + r] * a[r * columns + j];
          }
          wanted += value ** 2;
        }
      }
      near(lowRankSquare(used), wanted, 1e-12);
    }
    assert.equal(lowRankSquare([]), 0);
    const same = { scale: 1, rank: 3, a: floats(3, 15), b: floats(4, 21) };
    assert.ok(lowRankSquare([same, { ...same, scale: -1 }]) < 1e-12, "what is as it began");
  });
});

describe("the change of a run's weights", () => {
  it("is told tensor by tensor, of f32 and of bf16", () =>
    withScratchFolder(async (folder) => {
      for (const dtype of ["F32", "BF16"] as const) {
        const dir = join(folder, dtype);
        const added = { "lm_head.weight": 0.5, "model.layers.1.self_attn.q_proj.weight": 0.25 };
        await writeTrained(dir, added, dtype);
        await writeWeightChange(dir, START);
        const { tensors, tied } = await changeIn(dir);
        assert.equal(tied, false);
        for (const { name, part, layer, parameters, change, start } of tensors) {
          const wanted = (added[name as keyof typeof added] ?? 0) * Math.sqrt(parameters);
          // bf16 has 8 bits: the sums round by up to 2^-9 of them.
          if (dtype === "F32") assert.ok(Math.abs(change - wanted) <= 1e-6 * start + 1e-6 * wanted, name);
          else assert.ok(Math.abs(change - wanted) <= 2 ** -8 * (start + wanted), name);
          if (name.includes("q_proj")) {
            assert.deepEqual([part, layer], ["attention", Number(name.split(".")[2])]);
          }
        }
        const parts = Object.fromEntries(tensors.map(({ name, part }) => [name, part]));
        assert.deepEqual(
          ["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"].map((name) => parts[name]),
          ["unembedding", "embedding", "norm"],
        );
        assert.equal(parts["model.layers.0.mlp.up_proj.weight"], "mlp");
        assert.equal(parts["model.layers.0.input_layernorm.weight"], "norm");
      }
    }));

  it("of an adapter is that of what it adds to each weight, 0 where it adds nothing", () =>
    withScratchFolder(async (folder) => {
      const [now, then] = [join(folder, "now"), join(folder, "then")];
      const golden = join(ROOT, "test/golden/lora/llama2_all");
      for (const dir of [now, then]) await cp(golden, dir, { recursive: true });
      // The golden adapter is of a model of its own: the base is cut to the shapes that it adapts.
      const names = ["model.layers.0.self_attn.q_proj"];
      const config = JSON.parse(await readFile(join(golden, "adapter_config.json"), "utf8"));
      const { source, close } = await openModelFolder(MODEL);
      const [rows, columns] = source.shapeOf(`${names[0]}.weight`)!;
      await close();
      const rank = config.r;
      const [a, b, b0] = [floats(1, rank * columns), floats(2, rows * rank), floats(3, rows * rank)];
      const write = (dir: string, own: Float32Array) =>
        writeSafetensors(
          join(dir, "adapter_model.safetensors"),
          names.flatMap((name) =>
            [
              { part: "lora_A", values: a, shape: [rank, columns] },
              { part: "lora_B", values: own, shape: [rows, rank] },
            ].map(({ part, values, shape }) => ({
              name: `base_model.model.${name}.${part}.weight`,
              dtype: "F32" as const,
              shape,
              bytes: f32ToBytes(values, "F32"),
            }))
          ),
        );
      await write(now, b);
      await write(then, b0);
      const scale = config.lora_alpha / (config.use_rslora ? Math.sqrt(rank) : rank);
      for (const adapterDir of [null, then]) {
        await writeWeightChange(now, { ...START, adapterDir });
        const { tensors, end } = await changeIn(now);
        assert.equal(end, "adapter_model.safetensors");
        const difference = b.map((value, i) => value - (adapterDir ? b0[i] : 0));
        const wanted = Math.sqrt(lowRankSquare([{ scale, rank, a, b: difference }]));
        for (const { name, change, start } of tensors) {
          if (name === `${names[0]}.weight`) near(change, wanted, 1e-6);
          else assert.equal(change, 0, name);
          assert.ok(start > 0, name);
        }
      }
    }));

  it("is measured of a finished run by its settings; of one without final weights, or of another model, it is an error", () =>
    withScratchFolder(async (folder) => {
      const dir = join(folder, "run");
      await writeTrained(dir, { "lm_head.weight": 1 }, "F32");
      await writeFile(join(dir, "metrics.jsonl"), '{"step":1}\n');
      await writeFile(join(dir, "run_config.json"), JSON.stringify({ model_name: MODEL }));
      assert.equal((await readRun(dir)).weightChange, null);
      await measureRun(dir);
      const { weightChange } = await readRun(dir);
      const all = changeOf(weightChange!, ({ part }) => part === "unembedding")!;
      near(all.change, Math.sqrt(65536), 1e-6);
      near(all.share!, 1, 1e-6);
      await writeSafetensors(join(dir, "model.safetensors"), [
        { name: "lm_head.weight", dtype: "F32", shape: [2, 2], bytes: new Uint8Array(16) },
      ]);
      await assert.rejects(
        measureRun(dir),
        /change of "lm_head.weight": it is \[2,2\] in .* and \[1024,64\] in/,
      );
      await rm(join(dir, "config.json"));
      await assert.rejects(measureRun(dir), /required its final weights, found none/);
    }));
});

describe("a report", () => {
  const tensor = (name: string, part: string, layer: number | null, change: number, start: number) => ({
    name,
    part,
    layer,
    parameters: 4,
    change,
    start,
  });
  const measured = (tied: boolean): WeightChange =>
    parseWeightChange({
      start: "org/<b>model",
      end: "model.safetensors",
      tied,
      tensors: [
        tensor("e", "embedding", null, 0, 10),
        ...[0, 1].map((layer) => tensor(`a${layer}`, "attention", layer, 3, 60)),
        tensor("n", "norm", null, 0, 1),
        ...tied ? [] : [tensor("h", "unembedding", null, 4, 8)],
      ],
    }, "here");

  it("says which part moved how far, and what share of the change it has", () => {
    const html = runPage(runOf([{ step: 1 }], { weightChange: measured(false) }));
    // 4 of 8; 16 of 9 + 9 + 16.
    const cells = ["4", "8", "50 %", "47.1 %"].map((text) => `<td class="number">${text}</td>`).join("");
    assert.ok(html.includes(`unembedding</th>${cells}`));
    assert.match(html, /<title>layer 1, attention: 5 %<\/title>/);
    assert.match(html, /org\/&lt;b&gt;model/);
    assert.doesNotMatch(runPage(runOf([{ step: 1 }])), /How far the weights moved/);
    const one = runPage(runOf([{ step: 1 }], { weightChange: measured(true) }));
    assert.match(one, /embedding = unembedding/);
  });

  it("compares runs part by part, those that were measured", () => {
    const runs = [runOf([], { name: "a", weightChange: measured(false) }), runOf([], { name: "b" })];
    const html = comparisonPage(runs);
    assert.match(html, /<th scope="row">a<\/th>.*50 % <small>\(47.1 %\)<\/small>/);
    assert.doesNotMatch(html, /<th scope="row">b<\/th><td class="number">0 %/);
  });

  it("refuses a file that is none, with the place and the remedy", () => {
    const whole = measured(false);
    const wrong = [
      {},
      { ...whole, tied: "yes" },
      ...[{ layer: 1e9 }, { layer: -1 }, { part: "head" }, { change: -1 }, { start: "1" }].map((change) => ({
        ...whole,
        tensors: [{ ...whole.tensors[0], ...change }],
      })),
    ];
    for (const json of wrong) {
      assert.throws(
        () => parseWeightChange(json, "w.json"),
        /^TypeError: Cannot read w\.json: .*--weight-change$/,
      );
    }
  });
});
