// The smallest job: each rank says who it is, in which application, and whether it sees the others.
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, size, sum = 0, *appnum, *universe, has_appnum, has_universe;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_APPNUM, &appnum, &has_appnum);
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_UNIVERSE_SIZE, &universe, &has_universe);
    printf("rank %d of %d sum %d appnum %d universe %d\n", rank, size, sum, has_appnum ? *appnum : -1,
           has_universe ? *universe : -1);
    MPI_Finalize();
    return 0;
}
