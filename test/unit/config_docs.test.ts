import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { describeConfig } from "../../src/config/describe.ts";
import { GROUPS } from "../../src/config/fields.ts";
import { CONFIG_KEYS, fieldMeta } from "../../src/config/schema.ts";

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
