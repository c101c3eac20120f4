/** One folder that all ranks write into, and that is there whole or not at all, whichever of them fails. */
import { resolve } from "node:path";
import type { ManifestFile, Partners } from "../io/records/checkpoint.ts";
import { messageOf } from "../io/files/errors.ts";
import type { Communicator } from "../parallel/communicator.ts";
import { gatherTexts } from "../parallel/gather.ts";

/** What a rank made of its part. */
type Report = { files: readonly ManifestFile[] } | { error: string };

/** @throws Error when a rank reports one */
function filesOf(reports: readonly Report[]): ManifestFile[] {
  return reports.flatMap((report, rank) => {
    if ("files" in report) return report.files;
    throw new Error(`rank ${rank} could not write its part: ${report.error}`);
  });
}

/**
 * Every rank calls it, and learns what became of the folder.
 * @param lead writes the folder, on rank 0
 * @param follow writes a rank's part into the unfinished folder, on the others
 * @throws Error when any rank could not write: on rank 0 its own, on the others one that names the rank
 */
export async function writeTogether(
  communicator: Communicator,
  lead: (partners: Partners) => Promise<void>,
  follow: (partialDir: string) => Promise<ManifestFile>,
): Promise<void> {
  const gather = (text: string) => gatherTexts(communicator, [text]);
  const exchange = async (report: Report) =>
    (await gather(JSON.stringify(report))).map((text) => JSON.parse(text) as Report);
  let failure: unknown = null;
  const report = (): Report => failure === null ? { files: [] } : { error: messageOf(failure) };
  if (communicator.rank === 0) {
    // The others wait for both words, also where `lead` fails before it comes to say them.
    let said = 0;
    const begin = async (partialDir: string) => {
      said = 1;
      await gather(resolve(partialDir));
    };
    const end = async () => {
      said = 2;
      return filesOf(await exchange({ files: [] }));
    };
    await lead({ size: communicator.size, begin, end }).catch((error) => failure = error);
    if (said === 0) await gather("");
    else if (said === 1) await exchange(report());
  } else {
    const [partialDir] = await gather("");
    if (partialDir !== "") {
      const written = await follow(partialDir).then(
        (file): Report => ({ files: [file] }),
        (error): Report => ({ error: messageOf(error) }),
      );
      await exchange(written);
    }
  }
  const [ended] = await exchange(report());
  if (failure !== null) throw failure;
  if ("error" in ended) throw new Error(`Rank 0 has no checkpoint: ${ended.error}`);
}
