// What a model on a hub consists of: the files of its repository, and which of them are needed.

import { z } from "zod";
import type { HubFile } from "./blob.ts";
import { getFromHub, type HubAccess, IDLE_TIMEOUT_MS, nameOf, retryPassing } from "./http.ts";
import { COMMIT } from "./name.ts";
import { CARRIED_FILES } from "../tokenizer/files.ts";

/** Small files, fetched where the model has them. */
export const TEXT_FILES = ["config.json", ...CARRIED_FILES];
/** Weights in the order of preference, as one file or as an index of shards. */
const WEIGHTS = [
  { single: "model.safetensors", index: "model.safetensors.index.json" },
  { single: "pytorch_model.bin", index: "pytorch_model.bin.index.json" },
];

/** The weight files among `names`: one, or an index and its shards; none when there are no weights. */
export async function weightFiles(
  names: ReadonlySet<string>,
  readIndex: (index: string) => Promise<string>,
): Promise<string[]> {
  const form = WEIGHTS.find(({ single, index }) => names.has(single) || names.has(index));
  if (form === undefined) return [];
  if (names.has(form.single)) return [form.single];
  const text = await readIndex(form.index);
  try {
    const { weight_map } = WeightIndex.parse(JSON.parse(text));
    return [form.index, ...new Set(Object.values(weight_map))];
  } catch (cause) {
    throw new Error(`${form.index} names no shards (${misfitOf(cause)}); choose another model`, { cause });
  }
}

/** In one line why a text is not the JSON it should be. */
function misfitOf(error: unknown): string {
  const [issue] = error instanceof z.ZodError ? error.issues : [];
  return issue === undefined ? String(error) : `${issue.path.join(".") || "it"}: ${issue.message}`;
}

const WeightIndex = z.object({ weight_map: z.record(z.string(), z.string()) });

/** What `names` lacks to be a model with its tokenizer; weights aside. */
export function lackingTexts(names: ReadonlySet<string>): string[] {
  const hasTokenizer = names.has("tokenizer.model") || names.has("tokenizer.json");
  return [
    ...names.has("config.json") ? [] : ["config.json"],
    ...hasTokenizer ? [] : ["tokenizer.json (or tokenizer.model)"],
  ];
}

const Listing = z.object({
  sha: z.string().regex(COMMIT),
  siblings: z.array(z.object({
    rfilename: z.string(),
    size: z.number().int().min(0).optional(),
    blobId: z.string().regex(COMMIT).optional(),
    lfs: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/), size: z.number().int().min(0) }).nullish(),
  })),
});

/** Names that lead out of a folder, or nowhere. */
const isSound = (name: string) => !name.includes("\\") && !/^$|^\.{1,2}$/.test(name);

/** The commit behind a revision; of a model the files at its top, of a data set those in folders too. */
export async function listRepository(
  id: string,
  revision: string,
  access: HubAccess,
  kind?: "dataset",
): Promise<{ commit: string; files: Map<string, HubFile> }> {
  const subject = { id, revision, kind };
  const path = `api/${kind ?? "model"}s/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const listing = await retryPassing(access, async () => {
    const signal = AbortSignal.timeout(access.idleTimeoutMs ?? IDLE_TIMEOUT_MS);
    const response = await getFromHub(access, path, subject, { signal });
    try {
      return Listing.parse(await response.json());
    } catch (cause) {
      throw new Error(
        `Cannot download ${nameOf(subject)}: the answer of ${access.endpoint} is no list of files ` +
          `(${misfitOf(cause)}); is HF_ENDPOINT a Hugging Face hub?`,
        { cause },
      );
    }
  });
  const files = new Map<string, HubFile>();
  for (const { rfilename: name, size, blobId, lfs } of listing.siblings) {
    if (kind === undefined && name.includes("/")) continue; // nothing that a model needs lies in a folder
    if (!name.split("/").every(isSound)) continue;
    if (lfs) files.set(name, { name, sizeBytes: lfs.size, hash: { algorithm: "sha256", hex: lfs.sha256 } });
    else if (size !== undefined && blobId !== undefined) {
      files.set(name, { name, sizeBytes: size, hash: { algorithm: "git-sha1", hex: blobId } });
    }
  }
  return { commit: listing.sha, files };
}
