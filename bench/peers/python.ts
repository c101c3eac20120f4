/** A Python program in a process of its own, asked in lines of JSON and answering each with one. */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** What a line of it may hold beside the answer itself. */
interface Reply {
  /** Why there is no answer. */
  error?: string;
}

export interface PythonPeer<Answer> {
  /** What it said of itself once it was ready. */
  ready: Answer;
  /** @throws Error when Python says so, or ends */
  ask(request: object): Promise<Answer>;
  /** Ends it; may be called twice. */
  close(): void;
}

interface Waiter<Answer> {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** Lines of its stderr that an error shows. */
const SHOWN_LINES = 3;

/**
 * Starts a file of this folder, and waits until it has said that it is ready.
 * @param python the program, by name or path
 * @throws Error when the program does not start, or lacks what the file imports
 */
export async function startPython<Answer extends object>(
  python: string,
  file: string,
  args: readonly string[],
): Promise<PythonPeer<Answer>> {
  const threads = String(availableParallelism());
  const child = spawn(python, [fileURLToPath(new URL(file, import.meta.url)), ...args], {
    env: { ...process.env, OMP_NUM_THREADS: threads, HF_HUB_OFFLINE: "1", PYTHONUNBUFFERED: "1" },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const waiting: Waiter<Answer>[] = [];
  const complaints: string[] = [];
  let ended: Error | undefined;
  const end = (reason: string) => {
    ended ??= new Error(reason);
    for (const { reject } of waiting.splice(0)) reject(ended);
  };
  child.on("error", ({ message }) => {
    end(`${python} does not start (${message}); install Python, or name one with --python`);
  });
  child.on("close", (code, signal) => {
    end(`${python} ${file} ended with ${code ?? signal}: ${complaints.join(" | ") || "it said nothing"}`);
  });
  child.stdin.on("error", () => {}); // "close" says more
  createInterface({ input: child.stderr }).on("line", (line) => {
    complaints.push(line);
    if (complaints.length > SHOWN_LINES) complaints.shift();
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const answer = JSON.parse(line) as Answer & Reply;
    const waiter = waiting.shift();
    if (answer.error === undefined) waiter?.resolve(answer);
    else waiter?.reject(new Error(`${answer.error} (${python})`));
  });
  const next = () =>
    new Promise<Answer>((resolve, reject) => {
      if (ended) reject(ended);
      else waiting.push({ resolve, reject });
    });
  const close = () => void child.kill();
  try {
    const ready = await next();
    const ask = (request: object) => {
      const answer = next();
      if (!ended) child.stdin.write(`${JSON.stringify(request)}\n`);
      return answer;
    };
    return { ready, ask, close };
  } catch (error) {
    close();
    throw error;
  }
}
