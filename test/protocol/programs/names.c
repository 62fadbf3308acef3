// The name service: rank 0 publishes a name, the last rank finds it, a name that nobody published is an error.
#include <mpi.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char *port = "a-port-of-nobody$port#4711$";
    char found[MPI_MAX_PORT_NAME] = "";
    int rank, size, twice = 0, missing = 0, gone = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
    if (rank == 0) {
        MPI_Publish_name("leet-test", MPI_INFO_NULL, port);
        twice = MPI_Publish_name("leet-test", MPI_INFO_NULL, "another-port") != MPI_SUCCESS;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == size - 1) {
        MPI_Lookup_name("leet-test", MPI_INFO_NULL, found);
        missing = MPI_Lookup_name("leet-nobody", MPI_INFO_NULL, found + 128) != MPI_SUCCESS;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0)
        MPI_Unpublish_name("leet-test", MPI_INFO_NULL, port);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == size - 1) {
        char again[MPI_MAX_PORT_NAME];
        gone = MPI_Lookup_name("leet-test", MPI_INFO_NULL, again) != MPI_SUCCESS;
        printf("found %s missing %d gone %d\n", strcmp(found, port) ? "nothing" : "it", missing, gone);
    }
    if (rank == 0)
        printf("twice refused %d\n", twice);
    MPI_Finalize();
    return 0;
}
