/**
 * What lies between ranks, for predictions: public figures and assumptions, each with where it comes from. WebGPU hands
 * no memory to NVLink or to a network card, so what ranks say goes from the GPU to the host, through MPI, and back.
 */
export interface Interconnect {
  title: string;
  ranksPerNode: number;
  /** Between a GPU and its host, each way at once, bytes a second. */
  gpuBytes: number;
  /** What a rank sends to others of its node through MPI, while it receives as much, bytes a second. */
  nodeBytes: number;
  /** Of all ranks of a node together to other nodes, each way at once, bytes a second. */
  wireBytes: number;
  /** Seconds of a message: within a node, between two. */
  latency: { node: number; wire: number };
}

const PCIE4 = 24e9; // 16 lanes: 32 on paper, copies see 24 to 26

export const INTERCONNECTS: Readonly<Record<string, Interconnect>> = {
  "nvlink-host": {
    title: "nodes of 8 GPUs on PCIe 5, NVLink out of reach, a 400 Gb/s adapter for each",
    ranksPerNode: 8,
    gpuBytes: 50e9, // 64 on paper, copies see 50 to 55
    nodeBytes: 10e9, // assumed: what a core of such a server copies through shared memory
    wireBytes: 8 * 45e9, // datasheet of a DGX H100: 8 adapters; 90 % of their 50
    latency: { node: 1e-6, wire: 3e-6 }, // public MPI benchmarks
  },
  pcie4: {
    title: "nodes of 4 GPUs on PCIe 4, 100 Gb/s Ethernet between them",
    ranksPerNode: 4,
    gpuBytes: PCIE4,
    nodeBytes: 6.6e9, // MPI_Alltoall of 256 MB between two ranks in shared memory, measured on two cores
    wireBytes: 11e9, // 12.5 on paper, 90 % of it
    latency: { node: 1e-6, wire: 15e-6 }, // public MPI benchmarks over RoCE, rounded
  },
  "ib-hdr": {
    title: "nodes of 4 GPUs on PCIe 4, one InfiniBand HDR adapter (200 Gb/s) a node",
    ranksPerNode: 4,
    gpuBytes: PCIE4,
    nodeBytes: 6.6e9, // as above
    wireBytes: 23e9, // 25 on paper, public MPI benchmarks see 23 to 24.5
    latency: { node: 1e-6, wire: 2e-6 }, // public MPI benchmarks
  },
};

/**
 * An interconnect by its name, or a link between any two ranks as "GB/s,microseconds".
 * @throws RangeError when it is neither
 */
export function namedInterconnect(name: string): Interconnect {
  const found = Object.hasOwn(INTERCONNECTS, name) ? INTERCONNECTS[name] : undefined;
  if (found) return found;
  const [gigabytes, micros, ...more] = name.split(",").map((text) => text.trim() === "" ? NaN : Number(text));
  if (!(gigabytes > 0) || !(micros >= 0) || more.length > 0) {
    throw new RangeError(
      `Unknown interconnect "${name}"; interconnects: ${Object.keys(INTERCONNECTS).join(", ")}, ` +
        'or a link between ranks as GB/s,microseconds: "12.5,5"',
    );
  }
  const bytes = gigabytes * 1e9;
  return {
    title: `${gigabytes} GB/s each way and ${micros} us between any two ranks`,
    ranksPerNode: 1,
    gpuBytes: PCIE4,
    nodeBytes: bytes,
    wireBytes: bytes,
    latency: { node: micros / 1e6, wire: micros / 1e6 },
  };
}
