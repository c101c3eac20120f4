/** A configuration from the text of run.yaml. */
import assert from "node:assert/strict";
import { ConfigError, loadConfig, type LoadOptions } from "../../src/config/load.ts";

export function load(text: string, options: LoadOptions = {}) {
  return loadConfig({ text, fileName: "run.yaml" }, options);
}

/** The problems of a configuration that must not load. */
export function problemsOf(text: string, options: LoadOptions = {}): readonly string[] {
  try {
    load(text, options);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems;
  }
  return assert.fail("the configuration was accepted");
}
