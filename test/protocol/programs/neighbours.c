// Which ranks share memory: prints for each rank the lowest rank of those that MPI_COMM_TYPE_SHARED puts it with.
// With a file's name, rank 0 writes the lines there and ends the job by MPI_Abort with status 9: for stock launchers,
// under which MPICH 4.0 over UCX hangs in MPI_Finalize now and then.
#include <mpi.h>
#include <stdio.h>

static void end_by_abort(const char *name, int rank, int lowest)
{
    int all[64], size;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Gather(&lowest, 1, MPI_INT, all, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        FILE *file = fopen(name, "w");
        if (!file)
            MPI_Abort(MPI_COMM_WORLD, 8);
        for (int r = 0; r < size; r++)
            fprintf(file, "rank %d with %d\n", r, all[r]);
        fclose(file);
        MPI_Abort(MPI_COMM_WORLD, 9);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    int rank, lowest;
    MPI_Comm shared;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared);
    MPI_Allreduce(&rank, &lowest, 1, MPI_INT, MPI_MIN, shared);
    if (argc > 1)
        end_by_abort(argv[1], rank, lowest);
    printf("rank %d with %d\n", rank, lowest);
    MPI_Comm_free(&shared);
    MPI_Finalize();
    return 0;
}
