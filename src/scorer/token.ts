/** The word by which a scorer knows who may ask it: sent as "authorization: Bearer ...", never shown. */
import { readFile, stat } from "node:fs/promises";

/** The environment's. */
export const TOKEN_VARIABLE = "SCORER_TOKEN";

/** Where a scorer keeps the token of the URL that it writes to a file. */
export const tokenFileBeside = (urlFile: string): string => `${urlFile}.token`;

/** Others than its owner may read it. */
const READ_BY_OTHERS = 0o044;

/**
 * A token as it is sent.
 * @param place what holds it, for the message, which does not repeat it
 * @throws TypeError when it is empty, or has characters that no header may hold
 */
export function parseToken(text: string, place: string): string {
  const token = text.trim();
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new TypeError(
    `${place} holds no token: need one line of visible ASCII characters without spaces, got ${
      token === "" ? "nothing" : `${token.length} characters with others among them`
    }; write the scorer's token there`,
  );
}

/**
 * The token in a file.
 * @param onNotice told of a file that other users may read
 * @returns null where there is no file
 * @throws TypeError when it holds none
 * @throws Error when it cannot be read
 */
export async function readTokenFile(
  path: string,
  onNotice?: (text: string) => void,
): Promise<string | null> {
  try {
    const found = await stat(path);
    if (!found.isFile()) {
      throw new TypeError(`"${path}" must be a file with the scorer's token; correct the path`);
    }
    const { mode } = found;
    const text = await readFile(path, "utf8");
    if (process.platform !== "win32" && (mode & READ_BY_OTHERS) !== 0) {
      onNotice?.(`The scorer's token in ${path} can be read by other users; chmod 600 ${path}`);
    }
    return parseToken(text, `"${path}"`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}
