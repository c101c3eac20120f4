/** What Node's runner says in the form `tap`. */

/** How many tests passed; suites are no tests. */
export function passedIn(output: string): number {
  return Number(output.match(/^# pass (\d+)$/m)?.[1] ?? 0);
}

/** Lines about the innermost tests that failed; where there are none, the end of the output. */
export function failuresIn(output: string): string {
  const blocks = [
    ...output.matchAll(/^( *)not ok [^\n]*\n(?:\1 {2}---\n(?:\1 {2}[^\n]*\n)*?\1 {2}\.\.\.\n)?/gm),
  ]
    .map(([block]) => block).filter((block) => !/failureType: 'subtestsFailed'/.test(block));
  return blocks.length > 0 ? blocks.map(shortened).join("") : output.split("\n").slice(-30).join("\n");
}

/** Without where it stood in the compiled file. */
function shortened(block: string): string {
  return block.split("\n").filter((line) => !/^ *(---|\.\.\.|duration_ms:|location:|type:)/.test(line)).slice(
    0,
    25,
  )
    .join("\n") + "\n";
}
