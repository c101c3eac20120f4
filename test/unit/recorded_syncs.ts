/** Records when files and folders are brought to the disk, by standing before the sync of every open file. */
import { open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

/** Text of every file below a folder by its path, null for folders; the random ends of partial names as "#". */
export type Tree = Record<string, string | null>;

export interface Sync {
  /** Path of what was synced, as in the tree; "" for the folder itself. */
  synced: string;
  /** What there was at that moment. */
  tree: Tree;
}

const nameOf = (path: string) => path.replace(/(partial|replaced)-[0-9a-f]{16}/g, "$1-#");

async function walk(dir: string, inner: string, visit: (path: string, isFolder: boolean) => Promise<void>) {
  await visit(inner, true);
  for (const entry of await readdir(join(dir, inner), { withFileTypes: true })) {
    const path = join(inner, entry.name);
    if (entry.isDirectory()) await walk(dir, path, visit);
    else await visit(path, false);
  }
}

export async function treeOf(dir: string): Promise<Tree> {
  const tree: Tree = {};
  await walk(dir, "", async (path, isFolder) => {
    if (path !== "") tree[nameOf(path)] = isFolder ? null : await readFile(join(dir, path), "utf8");
  });
  return tree;
}

/** What below `dir` was synced while `body` ran, in order. */
export async function recordedSyncs(dir: string, body: () => Promise<unknown>): Promise<Sync[]> {
  const handle = await open(dir, "r");
  const prototype = Object.getPrototypeOf(handle) as { sync(): Promise<void>; stat: typeof handle.stat };
  await handle.close();
  const syncs: Sync[] = [];
  const { sync } = prototype;
  prototype.sync = async function () {
    const { ino } = await this.stat();
    await walk(dir, "", async (path) => {
      if ((await stat(join(dir, path))).ino !== ino) return;
      syncs.push({ synced: nameOf(path), tree: await treeOf(dir) });
    });
    return await sync.call(this);
  };
  try {
    await body();
  } finally {
    prototype.sync = sync;
  }
  return syncs;
}
