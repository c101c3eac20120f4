/** The output of spirv_dump.ts, taken apart. */

export const MARK = "@@ kernel ";
export const REFUSED = "@@ refused ";
const DISASSEMBLY = "/* Dumped SPIRV disassembly */";

export interface DumpedKernel {
  kernel: string;
  /** Kernel, conditions and constants. */
  name: string;
  /** SPIR-V in words; empty where Dawn made none. */
  assembly: string;
  /** The version of SPIR-V that the text says, as 1.4. */
  version: string;
  refused: string | undefined;
}

/** @throws Error when the output ends before a kernel's SPIR-V or refusal */
export function dumpedKernels(output: string): DumpedKernel[] {
  return `\n${output}`.split(`\n${MARK}`).slice(1).map((part) => {
    const name = part.slice(0, part.indexOf("\n"));
    const refused = part.split(`\n${REFUSED}`)[1]?.split("\n")[0];
    const assembly = part.split(DISASSEMBLY)[1]?.split("\n@@ ")[0] ?? "";
    const version = assembly.match(/^; Version: (\S+)$/m)?.[1] ?? "";
    if (refused === undefined && !/OpFunctionEnd\s*$/.test(assembly)) {
      throw new Error(`Dawn dumped no whole SPIR-V of ${name}; need its toggle dump_shaders`);
    }
    const { kernel } = JSON.parse(name) as { kernel: string };
    return { kernel, name, assembly, version, refused };
  });
}
