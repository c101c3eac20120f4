/** A value as the user gave it, and where. */
export interface Given {
  value: unknown;
  /** `fileName:line:column`, or "command line, key=value". */
  where: string;
}
