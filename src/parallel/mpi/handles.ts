/**
 * What MPI's constants are in a library: three tables, for no function tells them. Open MPI's handles are addresses of
 * its own variables, MPICH's (also Intel MPI, MVAPICH, Cray) are numbers, and so are those of MPI 5's standard ABI.
 */

/** How a library's constants are to be had; not who made it: MPICH and Open MPI both can have the standard ABI. */
export type Abi = "Open MPI" | "MPICH" | "MPI 5";

/** An address, or a number. */
export type Handle = bigint | number;

export interface Handles {
  /** C type of a handle. */
  type: "void *" | "int";
  world: Handle;
  float: Handle;
  double: Handle;
  int: Handle;
  byte: Handle;
  sum: Handle;
  noInfo: Handle;
  errorsReturn: Handle;
  /** Of MPI_Comm_split_type: ranks that share memory. */
  shared: number;
  /** Threads call MPI one at a time, and at the same time. */
  threads: { serialized: number; multiple: number };
}

/** @param symbol address of a variable of the library */
export function handlesOf(abi: Abi, symbol: (name: string) => Handle): Handles {
  switch (abi) {
    case "Open MPI":
      return {
        type: "void *",
        world: symbol("ompi_mpi_comm_world"),
        float: symbol("ompi_mpi_float"),
        double: symbol("ompi_mpi_double"),
        int: symbol("ompi_mpi_int"),
        byte: symbol("ompi_mpi_byte"),
        sum: symbol("ompi_mpi_op_sum"),
        noInfo: symbol("ompi_mpi_info_null"),
        errorsReturn: symbol("ompi_mpi_errors_return"),
        shared: 0,
        threads: { serialized: 2, multiple: 3 },
      };
    case "MPICH":
      return {
        type: "int",
        world: 0x44000000,
        float: 0x4c00040a,
        double: 0x4c00080b,
        int: 0x4c000405,
        byte: 0x4c00010d,
        sum: 0x58000003,
        noInfo: 0x1c000000,
        errorsReturn: 0x54000001,
        shared: 1,
        threads: { serialized: 2, multiple: 3 },
      };
    case "MPI 5":
      return {
        type: "void *",
        world: 0x101n,
        float: 0x210n,
        double: 0x214n,
        int: 0x209n,
        byte: 0x247n,
        sum: 0x21n,
        noInfo: 0x130n,
        errorsReturn: 0x143n,
        shared: 221,
        threads: { serialized: 2048, multiple: 4096 },
      };
  }
}
