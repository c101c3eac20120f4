/** Faults of the scripts that ready a machine (scripts). */
import type { Fault } from "../fault.ts";

export const faults: readonly Fault[] = [
  {
    file: "scripts/run_command.mjs",
    find: 'resolve(code ?? 128 + constants.signals[signal ?? "SIGKILL"])',
    replace: "resolve(code ?? 0)",
    harm: "a program that a signal killed passes for one that went well",
    tests: ["unit/house.test.ts"],
  },
  {
    file: "scripts/run_command.mjs",
    find: 'process.on("SIGTERM", handOn).on("SIGHUP", handOn).on("SIGINT", survive);',
    replace: 'process.on("SIGHUP", handOn).on("SIGINT", survive);',
    harm: "SIGTERM ends the door and leaves the program behind it running",
    tests: ["unit/house.test.ts", "e2e/stopping.test.ts"],
    claim: 3,
  },
  {
    file: "scripts/run_command.mjs",
    find: '  process.on("SIGTERM", handOn).on("SIGHUP", handOn).on("SIGINT", survive);',
    replace: '  process.on("SIGTERM", handOn).on("SIGHUP", handOn);',
    harm: "Ctrl-C ends the door before the program behind it has saved",
    tests: ["unit/house.test.ts", "e2e/stopping.test.ts"],
    claim: 3,
  },
  {
    file: "scripts/run_command.mjs",
    find: "resolve({ code: code ?? 1, stdout, stderr })",
    replace: "resolve({ code: code ?? 0, stdout, stderr })",
    harm: "a probe that hung and was killed counts as a success",
    tests: ["unit/house.test.ts"],
  },
  {
    file: "scripts/apt_sources.mjs",
    find: 'entry.suites.includes(suite) && entry.components.includes("main")',
    replace: "entry.suites.includes(suite)",
    harm: "backports without main count as present, and no driver is found",
    tests: ["unit/apt_sources.test.ts"],
  },
  {
    file: "scripts/apt_sources.mjs",
    find: 'field("enabled")[0] === "no"',
    replace: 'field("enabled")[0] === "yes"',
    harm: "a disabled source is used, an enabled one is not",
    tests: ["unit/apt_sources.test.ts"],
  },
  {
    file: "scripts/apt_sources.mjs",
    find: "deb ${options}${uri} ${other} main",
    replace: "deb ${uri} ${other} main",
    harm: "the backports' source lacks its key, and apt refuses it",
    tests: ["unit/apt_sources.test.ts"],
  },
  {
    file: "scripts/setup_packages.mjs",
    find: "stamp.locks === hashOfLocks(root) && (stamp.dev || !dev)",
    replace: "stamp.locks === hashOfLocks(root)",
    harm: "tests find no packages after a start that installed those of users alone",
    tests: ["unit/house.test.ts"],
  },
  {
    file: "scripts/setup_packages.mjs",
    find: `    if (isInstalled(root, dev)) return;
    await install`,
    replace: "    await install",
    harm:
      "jobs of an array that start at once install one after the other into the folder that others run from",
    tests: ["unit/house.test.ts"],
  },
  {
    file: "scripts/setup_packages.mjs",
    find: '.code === "ESRCH"',
    replace: '.code !== "ESRCH"',
    harm: "an install that was killed blocks every start for ten minutes",
    tests: ["unit/house.test.ts"],
  },
  {
    file: "scripts/start.mjs",
    find: "major < MIN_NODE[0] ||",
    replace: "major <= MIN_NODE[0] ||",
    harm: "Node 20 is refused",
    tests: ["unit/house.test.ts", "e2e/stopping.test.ts"],
  },
  {
    file: "scripts/start.mjs",
    find: `  process.exitCode = 1;
}
if (ready)`,
    replace: `}
if (ready)`,
    harm: "a start that failed exits with 0",
    tests: ["e2e/doctor.test.ts", "unit/house.test.ts"],
  },
  {
    file: "scripts/start.mjs",
    find: "doctor: { needsGpu: false,",
    replace: "doctor: { needsGpu: true,",
    harm: "doctor installs a driver instead of saying that it is missing",
    tests: ["unit/house.test.ts", "e2e/doctor.test.ts"],
  },
];
