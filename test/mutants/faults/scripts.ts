/** Faults of the scripts that ready a machine (scripts). */
import type { Fault } from "../fault.ts";

export const faults: readonly Fault[] = [
  {
    file: "scripts/run_command.mjs",
    find: 'resolve(code ?? 128 + constants.signals[signal ?? "SIGKILL"])',
    replace: "resolve(code ?? 0)",
    harm: "a program that a signal killed passes for one that went well",
    tests: ["unit/run_command.test.ts"],
  },
  {
    file: "scripts/run_command.mjs",
    find: '["SIGTERM", "SIGHUP", ...handsOn]',
    replace: '["SIGHUP", ...handsOn]',
    harm: "SIGTERM ends the door and leaves the program behind it running",
    tests: ["unit/run_command.test.ts"],
    claim: 3,
  },
  {
    file: "scripts/run_command.mjs",
    find: "  surviveInterrupts();",
    replace: "",
    harm: "Ctrl-C ends the door before the program behind it has saved",
    tests: ["unit/run_command.test.ts"],
    claim: 3,
  },
  {
    file: "scripts/run_command.mjs",
    find: "(code) => end(code)",
    replace: "(code) => end(code ?? 0)",
    harm: "a probe that hung and was killed counts as a success",
    tests: ["unit/run_command.test.ts"],
  },
  {
    file: "scripts/apt_sources.mjs",
    find: 'entry.suites.includes(suite) && entry.components.includes("main")',
    replace: "entry.suites.includes(suite)",
    harm: "backports without main count as present, and no driver is found",
    tests: ["unit/apt_sources.test.ts", "unit/setup_vulkan.test.ts"],
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
    tests: ["unit/setup_packages.test.ts"],
  },
  {
    file: "scripts/setup_packages.mjs",
    find: `    if (isInstalled(root, dev)) return;
    await install`,
    replace: "    await install",
    harm:
      "jobs of an array that start at once install one after the other into the folder that others run from",
    tests: ["unit/setup_packages.test.ts"],
  },
  {
    file: "scripts/setup_packages.mjs",
    find: '.code === "ESRCH"',
    replace: '.code !== "ESRCH"',
    harm: "an install that was killed blocks every start for ten minutes",
    tests: ["unit/setup_packages.test.ts"],
  },
  {
    file: "scripts/start.mjs",
    find: "major < MIN_NODE[0] ||",
    replace: "major <= MIN_NODE[0] ||",
    harm: "Node 20 is refused",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/start.mjs",
    find: `  process.exitCode = 1;
}
if (ready)`,
    replace: `}
if (ready)`,
    harm: "a start that failed exits with 0",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/start.mjs",
    find: "parity: { needsGpu: true, needsDev: true, entry: DEV_PROGRAM }",
    replace: "parity: { needsGpu: true, needsDev: true }",
    harm: "npm run parity is answered with the tasks that there are",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/start.mjs",
    find: "doctor: { needsGpu: false,",
    replace: "doctor: { needsGpu: true,",
    harm: "doctor installs a driver instead of saying that it is missing",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/run_command.mjs",
    find: "clearTimeout(timer);",
    replace: "",
    harm: "a start that found no sudo says what to do, and ends two minutes later",
    tests: ["unit/run_command.test.ts"],
  },
  {
    file: "scripts/setup_packages.mjs",
    find: "if (host !== hostname() || !pid) return false;",
    replace: "",
    harm: "a job on another machine of the cluster installs into the folder that is being installed into",
    tests: ["unit/setup_packages.test.ts"],
  },
  {
    file: "scripts/setup_packages.mjs",
    find: "installed[path]?.version === entry.version && existsSync(join(root, path))",
    replace: "existsSync(join(root, path))",
    harm: "after an update that locks other versions the old packages stay",
    tests: ["unit/setup_packages.test.ts"],
  },
  {
    file: "scripts/setup_packages.mjs",
    find: "  if (code !== 0) {",
    replace: "  if (code < 0) {",
    harm: "packages that could not be installed are taken for installed from then on",
    tests: ["unit/setup_packages.test.ts"],
  },
  {
    file: "scripts/setup_packages.mjs",
    find: 'for (const name of ["package-lock.json", "deno.lock"]) hash',
    replace: 'for (const name of ["deno.lock"]) hash',
    harm: "a changed package-lock.json installs nothing",
    tests: ["unit/setup_packages.test.ts"],
  },
  {
    file: "scripts/setup_vulkan.mjs",
    find: "  if (existsSync(record)) return;",
    replace: "",
    harm: "every start waits seconds for a probe of the GPU",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/setup_vulkan.mjs",
    find: "for (const name of DRIVER_VARIABLES) hash.update(",
    replace: "for (const name of []) hash.update(",
    harm: "a variable that hides the drivers is not seen after a start without it",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/setup_vulkan.mjs",
    find: `  if (code !== 0) {
    throw new Error(
      \`Cannot install software Vulkan: apt-get exited`,
    replace: `  if (code < 0) {
    throw new Error(
      \`Cannot install software Vulkan: apt-get exited`,
    harm: "a driver that apt could not install counts as installed",
    tests: ["unit/setup_vulkan.test.ts"],
  },
  {
    file: "scripts/setup_vulkan.mjs",
    find: "if (code !== 0) console.error(`${stdout}${stderr}`.trim());",
    replace: "",
    harm: "what apt complains about is not shown",
    tests: ["unit/setup_vulkan.test.ts"],
  },
  {
    file: "scripts/start.mjs",
    find: "!args.some((argument) => ASKS_ONLY.includes(argument))",
    replace: "true",
    harm: "--help and --dry-run install a driver first",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/start.mjs",
    find: 'process.env.DENO_WEBGPU_BACKEND ??= "vulkan"',
    replace: 'process.env.DENO_WEBGPU_BACKEND ??= ""',
    harm: "Deno on Linux opens an OpenGL adapter that cannot run the kernels",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/check.mjs",
    find: "    if (code !== 0) return code;",
    replace: "",
    harm: "the gate passes a change whose tests fail",
    tests: ["unit/check.test.ts"],
  },
  {
    file: "scripts/check.mjs",
    find: "{ recursive: true, encoding",
    replace: "{ encoding",
    harm: "npm test runs no test file, and passes",
    tests: ["unit/check.test.ts"],
  },
  {
    file: "scripts/check.mjs",
    find: "named.length > 0 ? named : testFiles(root)",
    replace: "testFiles(root)",
    harm: "npm test -- FILE runs every file",
    tests: ["unit/check.test.ts"],
  },
  {
    file: "scripts/setup_vulkan.mjs",
    find: "if (process.getuid?.() === 0) return await installDriver();",
    replace: "return await installDriver();",
    harm: "a user who is not root gets apt's complaint in place of the command to run",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/setup_vulkan.mjs",
    find: "{ input: JSON.stringify(proxies) }",
    replace: '{ input: "{}" }',
    harm: "behind a proxy the driver cannot be installed: sudo drops the proxy's address",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/setup_vulkan.mjs",
    find: 'remember(join(root, ".setup"), `adapter-${driverFingerprint()}`, found.name);',
    replace: 'remember(join(root, ".setup"), "adapter", found.name);',
    harm: "what was found is forgotten: every start probes again",
    tests: ["unit/start.test.ts"],
  },
  {
    file: "scripts/setup_packages.mjs",
    find: `  } catch {
    return undefined;`,
    replace: `  } catch (error) {
    throw error;`,
    harm: "after a disk that was full no command starts any more: it ends at half a note of JSON",
    tests: ["unit/setup_packages.test.ts"],
  },
];
