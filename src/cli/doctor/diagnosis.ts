/** What `doctor` makes of the facts about a machine. Pure: facts in, findings and text out. */
import { basename, dirname } from "node:path";
import { formatBytes } from "../../config/units.ts";
import type { GpuInfo } from "../../gpu/device.ts";
import { escapeControls } from "../../config/controls.ts";
import { wrapText } from "../terminal/columns.ts";

/** ok: there. missing: training cannot start without it. note: worth knowing, nothing to fix or optional. */
export type Mark = "ok" | "missing" | "note";

export interface Finding {
  mark: Mark;
  subject: string;
  /** What was found. */
  detail: string;
  /** What to do about it, one line; always set when missing. */
  remedy?: string;
}

export interface Section {
  title: string;
  findings: Finding[];
}

export interface MachineFacts {
  programVersion: string;
  runtime: string;
  runtimeVersion: string;
  os: string;
  cpuModel: string;
  /** Cores this process may use. */
  cores: number;
  memoryBytes: number;
  freeMemoryBytes: number;
}

export interface DriverFacts {
  platform: string;
  /** Vulkan driver manifests in the loader's folders. */
  manifests: string[];
  /** Set variables that replace those folders, each with the files it names. */
  overrides: { variable: string; files: { path: string; exists: boolean }[] }[];
  hasNvidiaDevice: boolean;
}

/** Something that a run needs, tried out: what was found, or why it failed. */
export interface Requirement {
  subject: string;
  outcome: { detail: string } | { failure: string; remedy: string };
}

const FEATURES: readonly (readonly [name: string, use: string])[] = [
  ["timestamp-query", "kernel times in bench; without it the wall clock is used"],
  ["shader-f16", "f16 arithmetic in kernels"],
  ["subgroups", "exchange between lanes without shared memory"],
  ["chromium-experimental-subgroup-matrix", "tensor cores"],
];

const DRIVER_REMEDY =
  "install the GPU's own Vulkan driver, or Mesa's software Vulkan: apt-get install mesa-vulkan-drivers (23.2 or newer)";

export function machineFindings(facts: MachineFacts): Finding[] {
  const memory = `${formatBytes(facts.memoryBytes)}, ${formatBytes(facts.freeMemoryBytes)} of it free`;
  return [
    { mark: "ok", subject: "grpo-webgpu", detail: facts.programVersion },
    { mark: "ok", subject: "runtime", detail: `${facts.runtime} ${facts.runtimeVersion}` },
    { mark: "ok", subject: "system", detail: facts.os },
    { mark: "ok", subject: "CPU", detail: `${facts.cores} cores, ${facts.cpuModel}` },
    { mark: "ok", subject: "memory", detail: memory },
  ];
}

/** @param gpu what the opened device says of itself, or the error that opening it threw */
export function gpuFindings(gpu: GpuInfo | Error, drivers: DriverFacts): Finding[] {
  if (gpu instanceof Error) {
    // The rest of the message tells other commands' users to come here.
    const [problem] = gpu.message.split(". ");
    return [{ mark: "missing", subject: "adapter", detail: problem, remedy: adapterRemedy(drivers) }];
  }
  return [
    { mark: "ok", subject: "adapter", detail: gpu.name },
    { mark: "ok", subject: "driver", detail: gpu.driver || "unnamed" },
    {
      mark: "ok",
      subject: "vendor",
      detail: [gpu.vendor, gpu.architecture].filter((text) => text !== "").join(", ") || "unnamed",
    },
    kindFinding(gpu, drivers),
    ...FEATURES.map(([name, use]) => featureFinding(gpu, name, use)),
    ...limitFindings(gpu),
    shapesFinding(gpu),
  ];
}

function adapterRemedy(drivers: DriverFacts): string {
  const broken = drivers.overrides.find(({ files }) => files.some(({ exists }) => !exists));
  if (broken) return `unset ${broken.variable}, or let it name an existing driver manifest (*.json)`;
  if (drivers.platform !== "linux") return "update the GPU's driver";
  return drivers.hasNvidiaDevice ? nvidiaRemedy() : DRIVER_REMEDY;
}

function nvidiaRemedy(): string {
  return "install NVIDIA's Vulkan driver (libnvidia-gl of the kernel module's version), or start the container with " +
    "NVIDIA_DRIVER_CAPABILITIES=all";
}

function kindFinding({ isSoftware }: GpuInfo, drivers: DriverFacts): Finding {
  if (!isSoftware) return { mark: "ok", subject: "kind", detail: "hardware" };
  return {
    mark: "note",
    subject: "kind",
    detail: "software: the CPU computes; enough for configs/quickstart.yaml, slow for larger models",
    remedy: drivers.hasNvidiaDevice ? nvidiaRemedy() : undefined,
  };
}

function featureFinding(gpu: GpuInfo, name: string, use: string): Finding {
  const subject = name.replace("chromium-experimental-", ""); // which would push every line to the right
  if (gpu.features.includes(name)) return { mark: "ok", subject, detail: use };
  const where = gpu.runtime === "deno"
    ? "not offered by this adapter in Deno; Node may offer it"
    : "not offered by this adapter";
  return { mark: "note", subject, detail: `${where}; optional (${use})` };
}

function limitFindings({ limits }: GpuInfo): Finding[] {
  const lines: [string, string][] = [
    ["largest buffer", formatBytes(limits.maxBufferSize)],
    [
      "largest binding",
      `${formatBytes(limits.maxStorageBufferBindingSize)}; no tensor of a batch may be larger`,
    ],
    [
      "workgroup",
      `${limits.maxComputeInvocationsPerWorkgroup} lanes, ` +
      `${formatBytes(limits.maxComputeWorkgroupStorageSize)} shared memory`,
    ],
    ["dispatch", `${limits.maxComputeWorkgroupsPerDimension} workgroups per dimension`],
  ];
  return lines.map(([subject, detail]) => ({ mark: "ok", subject, detail }));
}

function shapesFinding({ subgroupMatrixConfigs: shapes }: GpuInfo): Finding {
  return shapes.length > 0
    ? { mark: "ok", subject: "tensor-core shapes", detail: shapes.join(", ") }
    : { mark: "note", subject: "tensor-core shapes", detail: "none; optional" };
}

export function driverFindings({ platform, manifests, overrides }: DriverFacts): Finding[] {
  if (platform !== "linux") {
    return [{ mark: "ok", subject: "Vulkan", detail: "not needed: the system brings its own GPU interface" }];
  }
  const findings: Finding[] = overrides.map(({ variable, files }) => {
    const list = files.map(({ path, exists }) => exists ? path : `${path} (does not exist)`).join(", ");
    return files.every(({ exists }) => exists)
      ? { mark: "ok", subject: variable, detail: list }
      : { mark: "note", subject: variable, detail: list, remedy: `correct or unset ${variable}` };
  });
  findings.push(manifestFinding(manifests, overrides.length > 0));
  return findings;
}

function manifestFinding(manifests: readonly string[], isOverridden: boolean): Finding {
  if (manifests.length === 0) {
    return {
      mark: "note",
      subject: "manifests",
      detail: "no Vulkan driver manifest found",
      remedy: DRIVER_REMEDY,
    };
  }
  const folders = [...new Set(manifests.map((path) => dirname(path)))];
  const namesIn = (folder: string) =>
    manifests.filter((path) => dirname(path) === folder).map((path) => basename(path)).join(", ");
  const detail = folders.map((folder) => `${folder}: ${namesIn(folder)}`).join("; ");
  return isOverridden
    ? { mark: "note", subject: "manifests", detail: `not looked at, a variable overrides them; ${detail}` }
    : { mark: "ok", subject: "manifests", detail };
}

export function requirementFindings(requirements: readonly Requirement[]): Finding[] {
  return requirements.map(({ subject, outcome }) =>
    "detail" in outcome
      ? { mark: "ok", subject, detail: outcome.detail }
      : { mark: "missing", subject, detail: outcome.failure, remedy: outcome.remedy }
  );
}

/** 0 when training can start, else 1. */
export function exitCodeOf(sections: readonly Section[]): number {
  return sections.some(({ findings }) => findings.some(({ mark }) => mark === "missing")) ? 1 : 0;
}

/**
 * Sections with a line for each finding, and one more for each remedy.
 * @param columns of the terminal, whose lines are broken between words; left out, none is
 */
export function formatDiagnosis(
  sections: readonly Section[],
  verdict: { ready: string; notReady: string },
  columns = Infinity,
): string {
  const lines = sections.flatMap(({ title, findings }) => {
    const width = Math.max(...findings.map(({ subject }) => subject.length));
    const indent = width + 13;
    const wrapped = (text: string) => wrapText(oneLine(text), columns, indent);
    return [
      title,
      ...findings.flatMap(({ mark, subject, detail, remedy }) => {
        const line = `  ${mark.padEnd(7)}  ${subject.padEnd(width)}  ${wrapped(detail)}`;
        return remedy === undefined ? [line] : [line, `${" ".repeat(indent)}${wrapped(`to do: ${remedy}`)}`];
      }),
      "",
    ];
  });
  return [...lines, wrapText(exitCodeOf(sections) === 0 ? verdict.ready : verdict.notReady, columns, 0)].join(
    "\n",
  );
}

function oneLine(text: string): string {
  return escapeControls(text.trim().replace(/\s*\n\s*/g, "; "));
}
