import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { describeConfig } from "../../src/config/describe.ts";
import { describeTrl } from "../../src/config/describe_trl.ts";
import { GROUPS } from "../../src/config/fields.ts";
import { CONFIG_KEYS, fieldMeta, isConfigKey } from "../../src/config/schema.ts";
import { OTHER_NAMES, TRL_KEYS } from "../../src/config/trl_keys.ts";

const trlKeys = JSON.parse(readFileSync(new URL("../golden/trl_keys.json", import.meta.url), "utf8"));

test("docs/config.md is what the schema says; scripts/config_docs.ts writes it", () => {
  const written = readFileSync(new URL("../../docs/config.md", import.meta.url), "utf8");
  assert.equal(written, describeConfig());
});

test("every key has a group, a sentence of help and its accepted values in words", () => {
  for (const key of CONFIG_KEYS) {
    const { group, description, requirement } = fieldMeta(key);
    assert.ok(GROUPS.includes(group), key);
    assert.match(description, /^[A-Z].*\.$/s, key);
    assert.notEqual(requirement, "", key);
  }
});

test("docs/from-trl.md is what the schema and TRL's keys say; scripts/config_docs.ts writes it", () => {
  const written = readFileSync(new URL("../../docs/from-trl.md", import.meta.url), "utf8");
  assert.equal(written, describeTrl(trlKeys));
});

test("every key of TRL is answered: one of ours, or an answer that names only keys of ours and of TRL", () => {
  const ofTrl = Object.values<object>(trlKeys.classes).flatMap((keys) => Object.keys(keys));
  assert.ok(ofTrl.length > 150);
  assert.deepEqual(ofTrl.filter((key) => !isConfigKey(key) && !Object.hasOwn(TRL_KEYS, key)), []);
  assert.deepEqual(Object.keys(TRL_KEYS).filter((key) => !ofTrl.includes(key)), [], "not TRL's");
  for (const [key, answer] of Object.entries({ ...TRL_KEYS, ...OTHER_NAMES })) {
    assert.ok(!isConfigKey(key), `${key} is a key of ours: remove it from trl_keys.ts`);
    const [, set] = /^set (\w+)/.exec(answer) ?? [];
    assert.ok(set === undefined || isConfigKey(set), `${key}: there is no ${set}`);
  }
});
