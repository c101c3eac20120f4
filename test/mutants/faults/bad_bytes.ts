/** Faults of what meets files, texts and servers of others. */
import type { Fault } from "../fault.ts";

export const faults: readonly Fault[] = [
  {
    file: "src/io/files/whole_file.ts",
    find: "  await assertFile(path, action);\n",
    replace: "",
    harm: "a socket in a file's place is answered with the system's code alone",
    tests: ["unit/odd_files.test.ts"],
  },
  {
    file: "src/io/files/whole_file.ts",
    find: "    refuseLfsPointer(bytes, path);\n",
    replace: "",
    harm: "a config that Git LFS has not fetched is said to be broken JSON",
    tests: ["unit/odd_files.test.ts"],
  },
  {
    file: "src/io/files/whole_file.ts",
    find: "if (size > maxBytes) {",
    replace: "if (size < 0) {",
    harm: "weights that are named as settings fill the memory",
    tests: ["unit/odd_files.test.ts"],
  },
  {
    file: "src/config/parsed_json.ts",
    find: "if (depthOf(text) > MAX_DEPTH) {",
    replace: "if (depthOf(text) < 0) {",
    harm: "a row of lists within lists ends the program where it is shown",
    tests: ["unit/parsed_json.test.ts"],
  },
  {
    file: "src/io/prompts/parquet_rows.ts",
    find: "      isGivenUp = true;\n",
    replace: "",
    harm: "a broken Parquet file ends the program behind the error that names it",
    tests: ["unit/odd_files.test.ts"],
  },
  {
    file: "src/io/tokenizer/bounded_template.ts",
    find: "if (++this.#evaluations > MAX_EVALUATIONS) {",
    replace: "if (++this.#evaluations < 0) {",
    harm: "a chat template with a loop in a loop keeps a run waiting for minutes",
    tests: ["unit/odd_files.test.ts"],
  },
  {
    file: "src/io/hub/http.ts",
    find: "access.token !== undefined && isPrivate(access.endpoint)) all",
    replace: "access.token !== undefined) all",
    harm: "the hub's token is sent where everybody on the way can read it",
    tests: ["unit/hub_models.test.ts"],
  },
  {
    file: "src/cli/terminal/output.ts",
    find: "process.stdout.write(terminalText(text));",
    replace: "process.stdout.write(text);",
    harm: "a scorer's answer clears the terminal",
    tests: ["unit/terminal.test.ts"],
  },
  {
    file: "scripts/root.mjs",
    find: "return isTerminal && /^(y|yes|)$/i.test(",
    replace: "return !isTerminal || /^(y|yes|)$/i.test(",
    harm: "a start that nobody watches installs as root without a word from anybody",
    tests: ["unit/root.test.ts"],
  },
];
