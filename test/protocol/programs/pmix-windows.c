// One-sided communication: each rank puts its number to its neighbour, all add to rank 0, rank 0 is read by all.
// Prints "windows ok" on each rank, or what is wrong and ends the job.
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, size, window[2] = {-1, 0}, read = -1;
    MPI_Win win;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Win_create(window, sizeof window, sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &win);
    MPI_Win_fence(0, win);
    MPI_Put(&rank, 1, MPI_INT, (rank + 1) % size, 0, 1, MPI_INT, win);
    MPI_Accumulate(&rank, 1, MPI_INT, 0, 1, 1, MPI_INT, MPI_SUM, win);
    MPI_Win_fence(0, win);
    MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win);
    MPI_Get(&read, 1, MPI_INT, 0, 1, 1, MPI_INT, win);
    MPI_Win_unlock(0, win);
    MPI_Win_fence(0, win);
    if (window[0] != (rank + size - 1) % size || read != size * (size - 1) / 2) {
        fprintf(stderr, "rank %d: put %d, get %d\n", rank, window[0], read);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    MPI_Win_free(&win);
    printf("windows ok\n");
    MPI_Finalize();
    return 0;
}
