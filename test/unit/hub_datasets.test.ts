/** Names of data sets, and which files of a repository are a split. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseDatasetName, splitFiles } from "../../src/io/hub/dataset_files.ts";

const filesOf = (files: string[], name: string, readme?: string) =>
  splitFiles(files, parseDatasetName(name), readme);
const card = (yaml: string) => `---\nlicense: cc-by-nc-4.0\n${yaml}---\n# A data set\n`;

describe("a data set's name", () => {
  it("is hf:org/name/split, with a revision and a configuration where they are named", () => {
    const whole = { id: "org/name", revision: undefined, config: undefined, split: "train" };
    assert.deepEqual(parseDatasetName("hf:org/name/train"), whole);
    assert.deepEqual(parseDatasetName("hf:org/name@v1.0/en/test"), {
      ...whole,
      revision: "v1.0",
      config: "en",
      split: "test",
    });
  });

  for (
    const name of [
      "hf:name",
      "hf:org/name",
      "hf:org/name/a/b/c",
      "hf:org/../train",
      "hf:org/name/",
      "hf:/a/b/c",
    ]
  ) {
    it(`is not ${name}`, () =>
      assert.throws(() => parseDatasetName(name), /names no data set: required hf:org\/name/));
  }
});

describe("a split's files", () => {
  it("are those that are called so, Parquet before JSON, in their order", () => {
    const files = [
      "README.md",
      "data/train-00001-of-00002.parquet",
      "data/train-00000-of-00002.parquet",
      "data/test-00000-of-00001.parquet",
      "train.jsonl",
      "training_notes.json",
    ];
    assert.deepEqual(filesOf(files, "hf:o/n/train"), [files[2], files[1]]);
    assert.deepEqual(filesOf(files, "hf:o/n/test"), [files[3]]);
  });

  it("may be JSON, gzipped, in folders of a configuration", () => {
    const files = [
      "harmless-base/train.jsonl.gz",
      "harmless-base/test.jsonl.gz",
      "helpful-base/train.jsonl.gz",
    ];
    assert.deepEqual(filesOf(files, "hf:o/n/helpful-base/train"), [files[2]]);
    assert.deepEqual(filesOf(files, "hf:o/n/train"), [files[0], files[2]]);
    assert.deepEqual(filesOf(["train/a.json", "test/a.json"], "hf:o/n/train"), ["train/a.json"]);
  });

  it("are all files of a repository that names no splits", () =>
    assert.deepEqual(filesOf(["b.parquet", "a.parquet"], "hf:o/n/train"), ["a.parquet", "b.parquet"]));

  it("are those that its README names", () => {
    const readme = card(
      "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*/train.jsonl\n" +
        "  - split: test\n    path: [data/*/test.jsonl]\n- config_name: one\n  data_files: data/A-7B/train.jsonl\n",
    );
    const files = [
      "data/A-7B/train.jsonl",
      "data/B-8B/train.jsonl",
      "data/B-8B/test.jsonl",
      "old/x/train.jsonl",
    ];
    assert.deepEqual(filesOf(files, "hf:o/n/train", readme), files.slice(0, 2));
    assert.deepEqual(filesOf(files, "hf:o/n/test", readme), [files[2]]);
    assert.deepEqual(filesOf(files, "hf:o/n/one/train", readme), [files[0]]);
    assert.throws(() => filesOf(files, "hf:o/n/dev", readme), /no split "dev"; take one of "train", "test"/);
    assert.throws(
      () => filesOf(files, "hf:o/n/two/train", readme),
      /no configuration "two"; take one of "default", "one"/,
    );
  });

  it("are refused where there are none, or not all", () => {
    assert.throws(
      () => filesOf(["README.md", "a.csv"], "hf:o/n/train"),
      /no Parquet or JSON file of the split "train", but none/,
    );
    assert.throws(() => filesOf(["train.parquet"], "hf:o/n/dev"), /of the split "dev", but "train\.parquet"/);
    const half = ["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"];
    assert.throws(
      () => filesOf(half, "hf:o/n/train"),
      /of the 00003|of the 3 files train-\.\.\. only 2 are there/,
    );
  });

  it("are not led astray by a README that is no YAML", () => {
    for (
      const readme of [
        "---\n: [\n---\n",
        card("configs: 7\n"),
        "# nothing",
        card("configs:\n- config_name: a\n"),
      ]
    ) {
      assert.deepEqual(filesOf(["train.jsonl"], "hf:o/n/train", readme), ["train.jsonl"]);
    }
  });
});
