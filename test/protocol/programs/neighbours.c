// Which ranks share memory: prints for each rank the lowest rank of those that MPI_COMM_TYPE_SHARED puts it with.
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, lowest;
    MPI_Comm shared;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared);
    MPI_Allreduce(&rank, &lowest, 1, MPI_INT, MPI_MIN, shared);
    printf("rank %d with %d\n", rank, lowest);
    MPI_Comm_free(&shared);
    MPI_Finalize();
    return 0;
}
