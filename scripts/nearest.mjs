// The name that was probably meant. Plain JavaScript without packages: the door asks before they are installed.

/**
 * @param {string} typed
 * @param {readonly string[]} names
 * @returns {string | undefined} undefined where none is near
 */
export function nearestOf(typed, names) {
  const [best] = names.map((name) => ({ name, edits: editsBetween(typed, name) })).sort((a, b) =>
    a.edits - b.edits
  );
  return typed !== "" && best && best.edits <= Math.max(2, Math.floor(typed.length / 3))
    ? best.name
    : undefined;
}

/**
 * Levenshtein's distance: insertions, deletions and replacements.
 * @param {string} from
 * @param {string} to
 */
function editsBetween(from, to) {
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const above = row;
    row = [i];
    for (let j = 1; j <= to.length; j++) {
      row.push(Math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (from[i - 1] === to[j - 1] ? 0 : 1)));
    }
  }
  return row[to.length];
}
