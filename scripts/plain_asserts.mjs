// Loaded before Node's tests. Node words a failed `assert.ok(x)` without a message by parsing the compiled file, which
// tsx puts on few lines: seconds for a short test file, minutes for a long one.
import assert from "node:assert/strict";

const { ok } = assert;
assert.ok = (
  /** @type {unknown} */ value,
  message = "the expression is false; its line stands in the stack",
) => ok(value, message);
