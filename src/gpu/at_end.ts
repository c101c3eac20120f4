/** What is to be closed at a program's end, told by whoever opened it: a program that opened nothing loads nothing. */

const closings: (() => Promise<void>)[] = [];

/** Has `close` called by `closeOpened`, once. */
export function closeAtEnd(close: () => Promise<void>): void {
  closings.push(close);
}

/** Closes what is open, the last first. */
export async function closeOpened(): Promise<void> {
  for (let close = closings.pop(); close; close = closings.pop()) await close();
}
