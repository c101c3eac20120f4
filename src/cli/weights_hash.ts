/** What final weights are told apart by. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

/** A file of final weights, and its SHA-256 in hexadecimal. */
export interface WeightsHash {
  file: string;
  sha256: string;
}

/** Of a file in a run's folder. */
export async function weightsHash(runDir: string, file: string): Promise<WeightsHash> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(join(runDir, file)), hash);
  return { file, sha256: hash.digest("hex") };
}
