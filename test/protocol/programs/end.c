// The ways a job may end. Arguments: the way, the rank that goes it, a status.
//   abort   MPI_Abort with the status
//   alone   MPI_Abort of MPI_COMM_SELF with the status: stock launchers end all ranks then, too
//   exit    the status after MPI_Finalize
//   leave   exit with the status without MPI_Finalize, while the others wait for a message
//   wait    nothing: all write `waiting`, and wait for a message that never comes
//   crash   a segmentation violation, while the others wait for a message
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>

int main(int argc, char **argv)
{
    int rank, who = atoi(argv[2]), status = atoi(argv[3]), never;
    const char *way = argv[1];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == who && !strcmp(way, "abort"))
        MPI_Abort(MPI_COMM_WORLD, status);
    if (rank == who && !strcmp(way, "alone"))
        MPI_Abort(MPI_COMM_SELF, status);
    if (rank == who && !strcmp(way, "leave"))
        _Exit(status);
    if (rank == who && !strcmp(way, "crash")) {
        // Past any handler that the MPI library may have installed.
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    if (!strcmp(way, "wait")) {
        puts("waiting");
        fflush(stdout);
    }
    if (strcmp(way, "exit"))
        MPI_Recv(&never, 1, MPI_INT, who, 99, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Finalize();
    return rank == who ? status : 0;
}
