/** One line that is written over on a terminal, and a line each elsewhere; on stderr, so that tables stay alone. */
export function showProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (text !== "") process.stderr.write(`${text}\n`);
}
