/** Several services in one setting, scorer_url or cost_scorer_url: addresses with commas between. */

/** A comma inside an address, as a path may have one, stays there. */
const BETWEEN = /\s*,\s*(?=https?:\/\/|file:)/i;

export function scorerAddresses(text: string): string[] {
  return text.trim().split(BETWEEN);
}
