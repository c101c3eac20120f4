/**
 * The devices that the Vulkan loader offers this process, as WebGPU will see them: WebGPU itself tells neither two
 * equal cards apart nor where they are plugged in. Asked of libvulkan, through koffi.
 */

export interface VulkanDevice {
  /** In the loader's order. */
  index: number;
  name: string;
  /** 32 hexadecimal digits: NVIDIA's are those of `nvidia-smi`. */
  uuid: string;
  /** "0000:01:00.0"; null where it is not plugged in, as a CPU that plays a GPU. */
  pci: string | null;
  isSoftware: boolean;
  /** Of the heaps that are the device's own. */
  memoryBytes: number;
}

/** VkStructureType. */
const TYPES = {
  instanceCreateInfo: 1,
  properties2: 1000059001,
  idProperties: 1000071004,
  pciBusInfo: 1000212000,
};
/** Where each struct begins in the block that is handed over, and where its fields lie, in bytes. */
const AT = { applicationInfo: 0, createInfo: 64, properties: 128, id: 1024, pci: 1088, memory: 1152 };
const BLOCK_BYTES = 2048;
const FIELD = { next: 8, id: { uuid: 16 }, pci: { domain: 16, bus: 20, device: 24, function: 28 } };
/** Of VkPhysicalDeviceProperties, which VkPhysicalDeviceProperties2 holds from byte 16. */
const PROPERTY = { type: 16 + 16, name: 16 + 20, nameBytes: 256 };
/** Of VkPhysicalDeviceMemoryProperties: 32 types of 8 bytes come before the heaps. */
const HEAPS = { count: 4 + 32 * 8, first: 4 + 32 * 8 + 4, bytes: 16, flags: 8, deviceLocal: 1 };
const VULKAN_1_1 = (1 << 22) | (1 << 12);
const CPU_TYPE = 4;
const MOST_DEVICES = 64;
/** VK_INCOMPLETE: there are more than asked for. */
const INCOMPLETE = 5;
/** No bus has this number: the driver wrote none. */
const UNSET = 0xffffffff;

type Call = (...args: unknown[]) => number;

/** Memory that C reads and writes, and its address. */
interface Block {
  view: DataView;
  address: bigint;
}

/**
 * @throws Error when there is no Vulkan loader, or it offers no device
 */
export async function vulkanDevices(): Promise<VulkanDevice[]> {
  const koffi = (await import("koffi")).default;
  const library = openLibrary(koffi.load);
  const of = (name: string, result: string, args: string[]): Call => library.func(name, result, args);
  const block = koffi.alloc("uint8_t", BLOCK_BYTES);
  const memory: Block = { view: new DataView(koffi.view(block, BLOCK_BYTES)), address: koffi.address(block) };
  const P = "void *";
  const instance = createInstance(of("vkCreateInstance", "int", [P, P, P]), memory);
  const destroy = of("vkDestroyInstance", "void", [P, P]);
  try {
    const handles = enumerate(of("vkEnumeratePhysicalDevices", "int", [P, P, P]), instance);
    const properties = of("vkGetPhysicalDeviceProperties2", "void", [P, P]);
    const heaps = of("vkGetPhysicalDeviceMemoryProperties", "void", [P, P]);
    return handles.map((handle, index) => describe({ properties, heaps }, { handle, index, memory }));
  } finally {
    destroy(instance, 0n);
    koffi.free(block);
  }
}

function openLibrary(load: typeof import("koffi").load) {
  const names = ["libvulkan.so.1", "libvulkan.so"];
  for (const name of names) {
    try {
      return load(name);
    } catch {
      // The next name may be there.
    }
  }
  throw new Error(
    `Cannot ask Vulkan for its devices: required one of ${
      names.join(", ")
    }, found none; install the Vulkan loader ` +
      "(libvulkan1 on Debian and Ubuntu, vulkan-loader elsewhere)",
  );
}

function createInstance(create: Call, { view, address }: Block): bigint {
  view.setUint32(AT.applicationInfo + 44, VULKAN_1_1, true);
  view.setUint32(AT.createInfo, TYPES.instanceCreateInfo, true);
  view.setBigUint64(AT.createInfo + 24, address + BigInt(AT.applicationInfo), true);
  const instance = new BigUint64Array(1);
  const code = create(address + BigInt(AT.createInfo), 0n, instance);
  if (code !== 0) {
    throw new Error(
      `Cannot ask Vulkan for its devices: vkCreateInstance failed with ${code}; the command "doctor" lists the drivers`,
    );
  }
  return instance[0];
}

function enumerate(list: Call, instance: bigint): bigint[] {
  const count = Uint32Array.of(MOST_DEVICES);
  const handles = new BigUint64Array(MOST_DEVICES);
  const code = list(instance, count, handles);
  if (code !== 0 && code !== INCOMPLETE) {
    throw new Error(
      `Cannot ask Vulkan for its devices: vkEnumeratePhysicalDevices failed with ${code}; the command "doctor" lists ` +
        "the drivers",
    );
  }
  return [...handles.subarray(0, count[0])];
}

function describe(
  { properties, heaps }: { properties: Call; heaps: Call },
  { handle, index, memory: { view, address } }: { handle: bigint; index: number; memory: Block },
): VulkanDevice {
  view.setUint32(AT.properties, TYPES.properties2, true);
  view.setBigUint64(AT.properties + FIELD.next, address + BigInt(AT.id), true);
  view.setUint32(AT.id, TYPES.idProperties, true);
  view.setBigUint64(AT.id + FIELD.next, address + BigInt(AT.pci), true);
  view.setUint32(AT.pci, TYPES.pciBusInfo, true);
  view.setBigUint64(AT.pci + FIELD.next, 0n, true);
  view.setUint32(AT.pci + FIELD.pci.domain, UNSET, true);
  properties(handle, address + BigInt(AT.properties));
  heaps(handle, address + BigInt(AT.memory));
  const bytes = (offset: number, length: number) => new Uint8Array(view.buffer, offset, length);
  const name = bytes(AT.properties + PROPERTY.name, PROPERTY.nameBytes);
  return {
    index,
    name: new TextDecoder().decode(name.subarray(0, name.indexOf(0))),
    uuid: [...bytes(AT.id + FIELD.id.uuid, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    pci: pciAddress((field) => view.getUint32(AT.pci + FIELD.pci[field], true)),
    isSoftware: view.getUint32(AT.properties + PROPERTY.type, true) === CPU_TYPE,
    memoryBytes: deviceHeaps(new DataView(view.buffer, AT.memory)),
  };
}

function pciAddress(field: (name: keyof typeof FIELD.pci) => number): string | null {
  if (field("domain") === UNSET) return null;
  const names = Object.keys(FIELD.pci) as (keyof typeof FIELD.pci)[];
  if (names.every((name) => field(name) === 0)) return null; // the host bridge's, which lavapipe gives
  const hex = (name: keyof typeof FIELD.pci, digits: number) =>
    field(name).toString(16).padStart(digits, "0");
  return `${hex("domain", 4)}:${hex("bus", 2)}:${hex("device", 2)}.${hex("function", 1)}`;
}

function deviceHeaps(view: DataView): number {
  let total = 0;
  for (let i = 0; i < view.getUint32(HEAPS.count, true); i++) {
    const at = HEAPS.first + i * HEAPS.bytes;
    const isOwn = (view.getUint32(at + HEAPS.flags, true) & HEAPS.deviceLocal) !== 0;
    if (isOwn) total += Number(view.getBigUint64(at, true));
  }
  return total;
}
