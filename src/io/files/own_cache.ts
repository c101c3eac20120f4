/** What is made once and can be made again, for this user. */
import { homedir } from "node:os";
import { join } from "node:path";

/** The program's folder in the user's cache, which may not be there yet. */
export function ownCache(environment: Readonly<Record<string, string | undefined>>): string {
  return join(environment.XDG_CACHE_HOME || join(homedir(), ".cache"), "grpo-webgpu");
}
