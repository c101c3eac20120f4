// Words for what goes wrong with files: what failed, what was required, what was found, what to do.

const REMEDIES: Readonly<Record<string, { required: string; actual: string; remedy: string }>> = {
  ENOSPC: {
    required: "free disk space",
    actual: "the disk is full",
    remedy: "free space, or set output_dir to another disk; what was saved before is untouched",
  },
  EDQUOT: {
    required: "room in the disk quota",
    actual: "the quota is used up",
    remedy: "free space, or set output_dir to another disk; what was saved before is untouched",
  },
  EACCES: {
    required: "permission",
    actual: "permission denied",
    remedy: "change the owner or mode of the folder, or choose another one",
  },
  EPERM: {
    required: "permission",
    actual: "operation not permitted",
    remedy: "change the owner or mode of the folder, or choose another one",
  },
  EROFS: {
    required: "a writable file system",
    actual: "it is mounted read-only",
    remedy: "choose a folder on a writable file system",
  },
  ENOTDIR: {
    required: "a folder at every step of the path",
    actual: "one of them is a file",
    remedy: "correct the path or move that file away",
  },
  EEXIST: {
    required: "a free name or a folder",
    actual: "a file of that name is in the way",
    remedy: "correct the path or move that file away",
  },
  EISDIR: { required: "a file", actual: "it is a folder", remedy: "correct the path" },
  ENOENT: { required: "an existing path", actual: "it does not exist", remedy: "correct the path" },
  ELOOP: {
    required: "a path that leads somewhere",
    actual: "its links lead in a circle",
    remedy: "remove or correct the links",
  },
  ENAMETOOLONG: {
    required: "names that the file system takes",
    actual: "one is too long",
    remedy: "choose a shorter one",
  },
  EIO: {
    required: "a disk that works",
    actual: "it reports a fault",
    remedy: "look at the system's log, or set output_dir to another disk; what was saved before is untouched",
  },
  ESTALE: {
    required: "a file system that is there",
    actual: "the server has forgotten the file",
    remedy: "mount it again, or choose a folder on another disk",
  },
  EBUSY: {
    required: "a file that nothing else holds",
    actual: "it is in use",
    remedy: "end what uses it, or choose another folder",
  },
  ENOTEMPTY: {
    required: "a folder that can be emptied",
    actual: "something in it stays",
    remedy: "end what uses it and remove it by hand",
  },
  ENFILE: {
    required: "a free file handle",
    actual: "the system has none left",
    remedy: "end programs that hold files open",
  },
  EMFILE: {
    required: "a free file handle",
    actual: "too many open files",
    remedy: "raise the limit with 'ulimit -n 4096'",
  },
};

/** Of codes that are not in the table: what the system said. */
const otherwise = (error: Error) => ({
  required: "a file system that lets it",
  actual: `it says "${error.message.replace(/[\r\n]+/g, " ")}"`,
  remedy: "correct the path, or choose another one",
});

/** The system code of an error ("ENOSPC"), or undefined. */
export function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** What an error says; of anything else that is thrown, its text. */
export const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error);

/**
 * Turns a file-system error into one that says what failed, what is required, what is the case and what to do.
 * Errors that are not the system's are returned as they are. The original stays in `cause`.
 * @param action what was tried, as in "write"; the message reads `Cannot ${action} '${path}': ...`
 */
export function explainFsError(error: unknown, action: string, path: string): unknown {
  const code = systemCode(error);
  // Codes with "_" are of the runtime, as ERR_INVALID_ARG_TYPE.
  if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) return error;
  if ((error as { explained?: boolean }).explained === true) return error;
  const known = REMEDIES[code] ?? otherwise(error as Error);
  const message = `Cannot ${action} '${path}': required ${known.required}, but ${known.actual} (${code}); ` +
    known.remedy;
  return Object.assign(new Error(message, { cause: error }), { code, explained: true });
}

/** Error that names the file, as every fault of a model file should. */
export function formatError(path: string, problem: string): Error {
  return new Error(`Cannot read '${path}': ${problem}`);
}
