// A little of everything that every MPI library must do: messages small and large, collectives, groups, topologies.
// Prints "work ok" on each rank; the first thing that is wrong is named on stderr and ends the job with status 1.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rank, size;

static void check(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "rank %d: wrong: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void ring(void)
{
    int token = rank, got = -1, next = (rank + 1) % size, last = (rank + size - 1) % size;
    MPI_Sendrecv(&token, 1, MPI_INT, next, 7, &got, 1, MPI_INT, last, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    check(got == last, "ring");
}

static void large(void)
{
    const int bytes = 1 << 20;
    char *out = malloc(bytes), *in = malloc(bytes);
    int peer = rank ^ 1;
    MPI_Status status;
    memset(out, 'a' + rank % 26, bytes);
    if (peer < size) {
        int count;
        MPI_Sendrecv(out, bytes, MPI_BYTE, peer, 8, in, bytes, MPI_BYTE, peer, 8, MPI_COMM_WORLD, &status);
        MPI_Get_count(&status, MPI_BYTE, &count);
        check(count == bytes && in[0] == 'a' + peer % 26 && in[bytes - 1] == in[0], "message of 1 MiB");
    }
    free(out);
    free(in);
}

static void collectives(void)
{
    int i, sum, root = size - 1, value = rank == root ? 4711 : 0;
    int *all = malloc(size * sizeof *all), *mine = malloc(size * sizeof *mine);
    MPI_Bcast(&value, 1, MPI_INT, root, MPI_COMM_WORLD);
    check(value == 4711, "bcast");
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    check(sum == size * (size - 1) / 2, "allreduce");
    MPI_Allgather(&rank, 1, MPI_INT, all, 1, MPI_INT, MPI_COMM_WORLD);
    for (i = 0; i < size; i++)
        check(all[i] == i, "allgather");
    for (i = 0; i < size; i++)
        mine[i] = rank * 1000 + i;
    MPI_Alltoall(mine, 1, MPI_INT, all, 1, MPI_INT, MPI_COMM_WORLD);
    for (i = 0; i < size; i++)
        check(all[i] == i * 1000 + rank, "alltoall");
    MPI_Scan(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    check(sum == rank * (rank + 1) / 2, "scan");
    MPI_Barrier(MPI_COMM_WORLD);
    free(all);
    free(mine);
}

static void groups(void)
{
    MPI_Comm half, dup, grid;
    int half_rank, dims[2] = {0, 0}, periods[2] = {1, 1}, coords[2], sum = 0, one = 1;
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &half);
    MPI_Comm_rank(half, &half_rank);
    MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, half);
    check(sum == (size + 1 - rank % 2) / 2, "split");
    MPI_Comm_dup(half, &dup);
    MPI_Barrier(dup);
    MPI_Comm_free(&dup);
    MPI_Comm_free(&half);
    MPI_Dims_create(size, 2, dims);
    MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &grid);
    MPI_Cart_coords(grid, rank, 2, coords);
    check(coords[0] < dims[0] && coords[1] < dims[1], "cartesian topology");
    MPI_Comm_free(&grid);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    ring();
    large();
    collectives();
    groups();
    printf("work ok\n");
    MPI_Finalize();
    return 0;
}
