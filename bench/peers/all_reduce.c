// All-reduce of f32 as a program in C has it, in the process and over the MPI that the ranks of the benchmark have.
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

static void *room(void **memory, size_t *have, size_t bytes) {
  if (*have < bytes) {
    free(*memory);
    *memory = malloc(bytes);
    *have = *memory ? bytes : 0;
  }
  return *memory;
}

// MPI's own. Seconds from a barrier on.
double all_reduce(float *values, int count) {
  MPI_Barrier(MPI_COMM_WORLD);
  double start = MPI_Wtime();
  MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  return MPI_Wtime() - start;
}

// Shares to the ranks that sum them in rank order, then sums to all: `count` a multiple of the ranks, below 2^29.
double all_reduce_by_shares(float *values, int count) {
  static void *memory;
  static size_t have;
  int size;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int share = count / size;
  float *parts = room(&memory, &have, sizeof(float) * (size_t)count);
  if (!parts) return -1;
  MPI_Barrier(MPI_COMM_WORLD);
  double start = MPI_Wtime();
  MPI_Alltoall(values, share, MPI_FLOAT, parts, share, MPI_FLOAT, MPI_COMM_WORLD);
  for (int rank = 1; rank < size; rank++)
    for (int i = 0; i < share; i++) parts[i] += parts[(size_t)rank * share + i];
  MPI_Allgather(parts, share, MPI_FLOAT, values, share, MPI_FLOAT, MPI_COMM_WORLD);
  return MPI_Wtime() - start;
}
