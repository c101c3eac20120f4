/** Copies of the checkout, so that faults are never put into the one that is worked in. */
import { execFileSync } from "node:child_process";
import { cpSync, lstatSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fault } from "./fault.ts";
import { ROOT, withFault } from "./fault_list.ts";

export interface Workspace {
  dir: string;
  /** Runs `body` with the fault in the copy, and without it again afterwards. */
  withFault<R>(fault: Fault, body: () => Promise<R>): Promise<R>;
  dispose(): void;
}

/** The files that git knows or would take, as they are now; the packages are shared by a link. */
export function openWorkspace(): Workspace {
  const dir = mkdtempSync(join(tmpdir(), "grpo-mutants-"));
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
    cwd: ROOT,
    maxBuffer: 1 << 26,
  });
  for (const path of listed.toString().split("\0").filter((path) => path !== "")) {
    if (lstatSync(join(ROOT, path), { throwIfNoEntry: false })) cpSync(join(ROOT, path), join(dir, path));
  }
  symlinkSync(join(ROOT, "node_modules"), join(dir, "node_modules"), "junction");
  return {
    dir,
    async withFault(fault, body) {
      const path = join(dir, fault.file);
      const text = readFileSync(path, "utf8");
      writeFileSync(path, withFault(text, fault));
      try {
        return await body();
      } finally {
        writeFileSync(path, text);
      }
    },
    dispose: () => rmSync(dir, { recursive: true, force: true }),
  };
}
