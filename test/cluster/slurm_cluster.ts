/** A Slurm cluster on this machine: its real daemons as root, without systemd, and nodes that are names of it. */
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { readCommand } from "../../scripts/run_command.mjs";

const NODES = ["n1", "n2", "n3"] as const;
export type NodeName = (typeof NODES)[number];

/** Character devices that stand for GPUs: Slurm hands out device files, and asks nothing of them. */
const GPU_FILES = ["/dev/zero", "/dev/full", "/dev/null", "/dev/random"];
const POLL_MS = 100;
/** Within which a daemon or a command of Slurm has to answer. */
const ANSWER_MS = 20_000;
/** Commands of Debian's packages slurmctld, slurmd, slurm-client and munge. */
const PROGRAMS = ["/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/bin/sbatch"];

/** Why there can be no cluster here; false where there can. */
export function lacksSlurm(): string | false {
  if (process.platform !== "linux") return "Slurm needs Linux";
  if (process.getuid?.() !== 0) return "needs root, which starts jobs";
  const missing = PROGRAMS.filter((path) => !existsSync(path));
  return missing.length > 0 && `needs ${missing.join(", ")}: npm run test:cluster installs them`;
}

/** What Slurm says of a job: `scontrol show job`, by field. */
export type Job = Readonly<Record<string, string>>;

export interface SlurmCluster {
  /** Of this cluster, shared by its nodes; deleted at the end. */
  folder: string;
  /** Submits a job from this process's folder. @returns the job's id */
  submit(words: readonly string[], variables?: Record<string, string>): Promise<string>;
  /** Runs a command of Slurm. @returns what it printed */
  command(name: string, ...args: string[]): Promise<string>;
  job(id: string): Promise<Job>;
  /** @throws Error when it is not so within `seconds` */
  waitUntil(what: string, seconds: number, isSo: () => boolean | Promise<boolean>): Promise<void>;
  /** Waits for the end of a job. @returns what Slurm says of it then */
  ended(id: string, seconds: number): Promise<Job>;
  /** As a node that loses power: its daemon and all that runs on it are gone at once. */
  loseNode(name: NodeName): Promise<void>;
  /** The node's daemon starts again. */
  startNode(name: NodeName): Promise<void>;
  close(): Promise<void>;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => {
    const server = createServer();
    return new Promise<typeof server>((resolve) => server.listen(0, () => resolve(server)));
  }));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** slurm.conf and its companions. */
function writeConfiguration(folder: string, [control, ...ports]: number[]): void {
  const host = hostname();
  const settings = [
    "ClusterName=test",
    `SlurmctldHost=${host}(127.0.0.1)`,
    `SlurmctldPort=${control}`,
    "SlurmUser=root",
    "SlurmdUser=root",
    "AuthType=auth/munge",
    "CryptoType=crypto/munge",
    // A requeued job waits until its credential has expired, two minutes where nothing is said.
    `AuthInfo=socket=${folder}/run/munge.sock,cred_expire=5`,
    `StateSaveLocation=${folder}/state`,
    `SlurmdSpoolDir=${folder}/spool/%n`,
    `SlurmctldPidFile=${folder}/run/slurmctld.pid`,
    `SlurmdPidFile=${folder}/run/slurmd.%n.pid`,
    `SlurmctldLogFile=${folder}/log/slurmctld.log`,
    `SlurmdLogFile=${folder}/log/slurmd.%n.log`,
    `TmpFS=${folder}/tmp/%n`,
    "ProctrackType=proctrack/linuxproc",
    "TaskPlugin=task/none",
    "JobAcctGatherType=jobacct_gather/none",
    "AccountingStorageType=accounting_storage/none",
    "SelectType=select/cons_tres",
    "SelectTypeParameters=CR_Core",
    "SchedulerType=sched/backfill",
    "SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2",
    "ReturnToService=2",
    "SlurmctldTimeout=5",
    "SlurmdTimeout=10",
    "InactiveLimit=0",
    "KillWait=20",
    "MinJobAge=600",
    "JobRequeue=1",
    "MpiDefault=pmix",
    "GresTypes=gpu",
    "PreemptType=preempt/partition_prio",
    "PreemptMode=REQUEUE",
    "TreeWidth=2",
    "SlurmdParameters=config_overrides",
    // The lightest node that may be taken is: the last.
    ...NODES.map((name, i) =>
      `NodeName=${name} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${ports[i]} CPUs=16 CoresPerSocket=16 ` +
      `RealMemory=8000 Gres=gpu:${GPU_FILES.length} Weight=${NODES.length - i} State=UNKNOWN`
    ),
    "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=0",
    "PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF",
  ];
  const gpus = GPU_FILES.map((path) => `NodeName=n[1-3] Name=gpu File=${path}`);
  const files = {
    "slurm.conf": settings,
    "gres.conf": gpus,
    "cgroup.conf": ["CgroupPlugin=cgroup/v1", "CgroupMountpoint=/sys/fs/cgroup"],
  };
  for (const [name, lines] of Object.entries(files)) {
    writeFileSync(join(folder, "etc", name), `${lines.join("\n")}\n`);
  }
  writeFileSync(join(folder, "etc", "munge.key"), randomBytes(128), { mode: 0o600 });
}

/** A file's text; nothing where there is no such file, as of a process that has ended. */
export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

const isAlive = (pid: number) =>
  existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readText(`/proc/${pid}/status`));

/** Processes of this cluster's jobs, on a node or on all of them, each with the daemon of Slurm that watches it. */
function jobProcesses(folder: string, node?: NodeName): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  const tasks = pids.filter((pid) => {
    const environment = readText(`/proc/${pid}/environ`).split("\0");
    return environment.includes(`SLURM_CONF=${folder}/etc/slurm.conf`) &&
      environment.some((entry) =>
        node ? entry === `SLURMD_NODENAME=${node}` : entry.startsWith("SLURMD_NODENAME=")
      );
  });
  const parents = tasks.map((pid) =>
    Number(/^PPid:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`))?.[1] ?? 0)
  );
  const watchers = parents.filter((pid) => readText(`/proc/${pid}/cmdline`).startsWith("slurmstepd"));
  return [...new Set([...watchers, ...tasks])];
}

function endProcesses(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended by itself.
    }
  }
}

const fieldsOf = (text: string): Job =>
  Object.fromEntries([...text.matchAll(/(\S+?)=(\S*)/g)].map(([, name, value]) => [name, value]));

/** Starts the daemons; returns once its nodes take jobs. */
export async function startSlurm(): Promise<SlurmCluster> {
  const folder = mkdtempSync(join(tmpdir(), "slurm-cluster-"));
  for (
    const part of ["etc", "state", "log", "run", ...NODES.flatMap((name) => [`spool/${name}`, `tmp/${name}`])]
  ) {
    mkdirSync(join(folder, part), { recursive: true, mode: 0o755 });
  }
  writeConfiguration(folder, await freePorts(1 + NODES.length));
  const env = { ...process.env, SLURM_CONF: join(folder, "etc/slurm.conf") };
  const pidOf = (daemon: string) => Number(readText(join(folder, "run", `${daemon}.pid`)));

  async function command(name: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await readCommand(name, args, { env, timeoutMs: ANSWER_MS });
    if (code === 0) return stdout;
    throw new Error(`${[name, ...args].join(" ")} exited with ${code}: ${stderr}${stdout}`);
  }

  async function waitUntil(
    what: string,
    seconds: number,
    isSo: () => boolean | Promise<boolean>,
  ): Promise<void> {
    const end = performance.now() + seconds * 1000;
    while (!await isSo()) {
      if (performance.now() > end) {
        const log = readText(join(folder, "log/slurmctld.log")).split("\n").slice(-15).join("\n");
        throw new Error(`Not within ${seconds} s: ${what}. The end of Slurm's log:\n${log}`);
      }
      await sleep(POLL_MS);
    }
  }

  const stateOf = async (node: NodeName) =>
    (await command("sinfo", "-h", "-N", "-p", "main", "-n", node, "-o", "%T")).trim();

  async function startNode(name: NodeName): Promise<void> {
    await command("/usr/sbin/slurmd", "-N", name);
    await waitUntil(`node ${name} takes jobs`, 30, async () => await stateOf(name) === "idle");
  }

  async function close(): Promise<void> {
    const daemons = [...NODES.map((name) => pidOf(`slurmd.${name}`)), pidOf("slurmctld"), pidOf("munged")];
    const running = daemons.filter((pid) => pid > 0 && isAlive(pid));
    // None is left that could start another.
    endProcesses(running, "SIGTERM");
    endProcesses(jobProcesses(folder), "SIGKILL");
    await waitUntil("the daemons end", 10, () => !running.some(isAlive)).catch(() =>
      endProcesses(running, "SIGKILL")
    );
    endProcesses(jobProcesses(folder), "SIGKILL");
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async function job(id: string): Promise<Job> {
    return fieldsOf(await command("scontrol", "-o", "show", "job", id));
  }

  try {
    const munge = [
      "key-file=etc/munge.key",
      "socket=run/munge.sock",
      "pid-file=run/munged.pid",
      "log-file=log/munged.log",
    ];
    const seed = "seed-file=run/munge.seed";
    await command(
      "/usr/sbin/munged",
      "--force",
      ...[...munge, seed].map((option) => `--${option.replace("=", `=${folder}/`)}`),
    );
    await command("/usr/sbin/slurmctld", "-i");
    for (const name of NODES) await command("/usr/sbin/slurmd", "-N", name);
    await waitUntil(
      "the nodes take jobs",
      30,
      async () => (await Promise.all(NODES.map(stateOf))).every((state) => state === "idle"),
    );
  } catch (error) {
    await close();
    throw error;
  }

  return {
    folder,
    command,
    job,
    waitUntil,
    startNode,
    close,
    async submit(words, variables = {}) {
      const options = { env: { ...env, ...variables }, timeoutMs: ANSWER_MS };
      const { code, stdout, stderr } = await readCommand("sbatch", ["--parsable", ...words], options);
      if (code !== 0) throw new Error(`sbatch ${words.join(" ")} exited with ${code}: ${stderr}`);
      return stdout.trim();
    },
    async ended(id, seconds) {
      const ends =
        /^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|OUT_OF_MEMORY|BOOT_FAIL|DEADLINE|PREEMPTED)$/;
      let last: Job = {};
      await waitUntil(`job ${id} ends`, seconds, async () => ends.test((last = await job(id)).JobState));
      return last;
    },
    async loseNode(name) {
      endProcesses([pidOf(`slurmd.${name}`), ...jobProcesses(folder, name)], "SIGKILL");
      await Promise.resolve();
    },
  };
}
