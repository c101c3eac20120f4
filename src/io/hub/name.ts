// Names of models on a hub, and the commit that a run keeps of them. Pure.

/** A model as the user names it: "org/name" or "org/name@revision". */
export interface HubName {
  readonly id: string;
  /** Branch, tag or commit; undefined when none is named. */
  readonly revision: string | undefined;
}

/** A full commit hash. */
export const COMMIT = /^[0-9a-f]{40}$/;
const PART = "[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?";
const NAME = new RegExp(`^(${PART}/${PART})(?:@([A-Za-z0-9_][A-Za-z0-9_./-]*))?$`);

/** Splits a hub name; undefined for what is none (a path, a single word). */
export function parseHubName(name: string): HubName | undefined {
  const [, id, revision] = NAME.exec(name) ?? [];
  if (id === undefined || id.length > 96 || /--|\.\./.test(id) || /\.\.|\/\/|\/$/.test(revision ?? "")) {
    return undefined;
  }
  return { id, revision };
}

/** The commit that `pinned` ("org/name@commit") holds for an unpinned `name` of the same id; else undefined. */
export function pinnedCommit(name: HubName, pinned: string): string | undefined {
  const saved = parseHubName(pinned);
  const isSame = name.revision === undefined && saved?.id === name.id && COMMIT.test(saved.revision ?? "");
  return isSame ? saved?.revision : undefined;
}
