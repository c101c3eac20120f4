import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type DriverFacts,
  driverFindings,
  exitCodeOf,
  formatDiagnosis,
  gpuFindings,
  machineFindings,
  requirementFindings,
} from "../../src/cli/doctor/diagnosis.ts";
import { formatBytes } from "../../src/config/units.ts";
import type { GpuInfo } from "../../src/gpu/device.ts";

const DRIVERS: DriverFacts = {
  platform: "linux",
  manifests: ["/usr/share/vulkan/icd.d/lvp_icd.json"],
  overrides: [],
  hasNvidiaDevice: false,
};
const GPU: GpuInfo = {
  runtime: "node",
  runtimeVersion: "20.0.0",
  vendor: "nvidia",
  architecture: "hopper",
  name: "A GPU",
  driver: "A driver",
  features: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix", "timestamp-query"],
  limits: {
    maxBufferSize: 2 ** 32 - 1,
    maxStorageBufferBindingSize: 2 ** 27,
    maxComputeWorkgroupsPerDimension: 65535,
    maxComputeInvocationsPerWorkgroup: 1024,
    maxComputeWorkgroupStorageSize: 32768,
  },
  subgroupMatrixConfigs: ["f16->f32 16x16x16"],
  isSoftware: false,
};
const VERDICT = { ready: "Ready.", notReady: "Not ready." };
const NO_ADAPTER = new Error("Cannot open a GPU: no adapter. Install one, or run doctor");

const markOf = (findings: { subject: string; mark: string }[], subject: string) =>
  findings.find((finding) => finding.subject === subject)?.mark;

test("formatBytes() writes sizes with binary units", () => {
  assert.deepEqual([0, 1023, 1024, 1536, 2 ** 27, 2 ** 32 - 1].map(formatBytes), [
    "0 B",
    "1023 B",
    "1 KiB",
    "1.5 KiB",
    "128 MiB",
    "4 GiB",
  ]);
});

test("a GPU with everything has no missing and no note", () => {
  const marks = new Set(gpuFindings(GPU, DRIVERS).map(({ mark }) => mark));
  assert.deepEqual([...marks], ["ok"]);
});

test("optional features that a GPU lacks are notes, so training can start", () => {
  const findings = gpuFindings({ ...GPU, features: [], subgroupMatrixConfigs: [] }, DRIVERS);
  assert.equal(markOf(findings, "subgroups"), "note");
  assert.equal(markOf(findings, "tensor-core shapes"), "note");
  assert.equal(exitCodeOf([{ title: "GPU", findings }]), 0);
});

test("no adapter is missing, and the remedy fits the machine", () => {
  const remedyFor = (drivers: Partial<DriverFacts>) => gpuFindings(NO_ADAPTER, { ...DRIVERS, ...drivers })[0];
  const plain = remedyFor({});
  assert.equal(plain.mark, "missing");
  assert.equal(plain.detail, "Cannot open a GPU: no adapter");
  assert.match(plain.remedy!, /mesa-vulkan-drivers/);
  assert.match(remedyFor({ hasNvidiaDevice: true }).remedy!, /NVIDIA_DRIVER_CAPABILITIES/);
  assert.match(remedyFor({ platform: "darwin" }).remedy!, /update the GPU's driver/);
  const broken = [{ variable: "VK_DRIVER_FILES", files: [{ path: "/nonexistent", exists: false }] }];
  assert.match(remedyFor({ overrides: broken }).remedy!, /unset VK_DRIVER_FILES/);
});

test("a software adapter beside an NVIDIA GPU says how to get that GPU", () => {
  const findings = gpuFindings({ ...GPU, isSoftware: true }, { ...DRIVERS, hasNvidiaDevice: true });
  const kind = findings.find(({ subject }) => subject === "kind")!;
  assert.equal(kind.mark, "note");
  assert.match(kind.remedy!, /libnvidia-gl/);
});

test("a driver variable that names no file is shown with what to do, and hides the folders", () => {
  const overrides = [{ variable: "VK_ICD_FILENAMES", files: [{ path: "/a.json", exists: false }] }];
  const [variable, manifests] = driverFindings({ ...DRIVERS, overrides });
  assert.match(variable.detail, /\/a\.json \(does not exist\)/);
  assert.match(variable.remedy!, /VK_ICD_FILENAMES/);
  assert.match(manifests.detail, /^not looked at/);
});

test("what a run lacks makes the exit code 1, and every missing thing has a line that says what to do", () => {
  const findings = requirementFindings([
    { subject: "train_jsonl", outcome: { detail: "3 prompts" } },
    { subject: "model_name", outcome: { failure: "no such folder\n  at all", remedy: "set model_name" } },
  ]);
  const sections = [{ title: "Run", findings }];
  assert.equal(exitCodeOf(sections), 1);
  assert.equal(
    formatDiagnosis(sections, VERDICT),
    [
      "Run",
      "  ok       train_jsonl  3 prompts",
      "  missing  model_name   no such folder; at all",
      "                        to do: set model_name",
      "",
      "Not ready.",
    ].join("\n"),
  );
});

test("on a terminal of 80 columns every line fits, and what goes on stands under what it goes on", () => {
  const failure = `need one of ${"llama, mistral, ".repeat(8)}phi3`;
  const remedy = "choose a model of a supported family, or correct what config.json says of this one";
  const findings = requirementFindings([{ subject: "model", outcome: { failure, remedy } }]);
  const text = formatDiagnosis([{ title: "Model", findings }], VERDICT, 80);
  const lines = text.split("\n");
  assert.ok(lines.every((line) => line.length <= 80), text);
  assert.match(text, /^ {18}llama, mistral/m);
  assert.equal(text.replace(/\s+/g, " "), `Model missing model ${failure} to do: ${remedy} Not ready.`);
});

test("each section is as wide as its own subjects: a long one elsewhere takes no room of the details", () => {
  const section = (title: string, subject: string) => ({
    title,
    findings: requirementFindings([{ subject, outcome: { detail: "x" } }]),
  });
  const text = formatDiagnosis([section("A", "os"), section("B", "the next generation batch")], VERDICT);
  assert.match(text, /^ {2}ok {7}os {2}x$/m);
  assert.match(text, /^ {2}ok {7}the next generation batch {2}x$/m);
});

test("the verdict is ready where nothing is missing, and controls in a message stay text", () => {
  const findings = machineFindings({
    programVersion: "1.2.3",
    runtime: "node",
    runtimeVersion: "20.0.0",
    os: "Linux",
    cpuModel: "cpu \u001b[31m",
    cores: 2,
    memoryBytes: 8 * 2 ** 30,
    freeMemoryBytes: 2 ** 30,
  });
  const text = formatDiagnosis([{ title: "Machine", findings }], VERDICT);
  assert.match(text, /2 cores, cpu \\u\{1b\}\[31m/);
  assert.match(text, /8 GiB, 1 GiB of it free/);
  assert.ok(text.endsWith("\nReady."));
});
