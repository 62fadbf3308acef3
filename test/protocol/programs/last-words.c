// Rank 0 writes eight megabytes and a last line, then ends the job; the others wait for it.
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
        for (int i = 0; i < 200000; i++)
            printf("line %06d of what the user wants to read\n", i);
        puts("the last words");
        fflush(stdout);
        MPI_Abort(MPI_COMM_WORLD, 42);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return 0;
}
