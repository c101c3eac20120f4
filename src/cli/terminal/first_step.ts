/** What is shown while the first step compiles its kernels, which takes from a second to minutes. */

const TEXT = "compiling kernels (first step only)";
const TICK_MS = 1000;
/** Where nothing can be drawn over, a short wait is not worth a line. */
const LOG_AFTER_SECONDS = 10;

/** Tells `show` every second how long the first step has been at it, or a log once; `close` ends that. */
export function firstStepWatch(
  show: (text: string) => void,
  { isTTY }: { isTTY: boolean },
): { close(): void } {
  let seconds = 0;
  const timer = setInterval(() => {
    seconds++;
    if (isTTY) show(`${TEXT}  ${seconds} s`);
    else if (seconds === LOG_AFTER_SECONDS) show(TEXT);
  }, TICK_MS);
  timer.unref();
  return { close: () => clearInterval(timer) };
}
