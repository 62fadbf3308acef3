// Ports: the even ranks open one under a name, the odd ranks find it and connect, both add up, and let go.
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    char port[MPI_MAX_PORT_NAME];
    int rank, size, remote, one = 1, sum = 0;
    MPI_Comm half, other, all;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
    if (rank == 0) {
        MPI_Open_port(MPI_INFO_NULL, port);
        MPI_Publish_name("leet-port", MPI_INFO_NULL, port);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank % 2 == 0) {
        MPI_Comm_accept(port, MPI_INFO_NULL, 0, half, &other);
    } else {
        if (rank == 1)
            MPI_Lookup_name("leet-port", MPI_INFO_NULL, port);
        MPI_Comm_connect(port, MPI_INFO_NULL, 0, half, &other);
    }
    MPI_Comm_remote_size(other, &remote);
    MPI_Intercomm_merge(other, rank % 2, &all);
    MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, all);
    printf("rank %d remote %d sum %d\n", rank, remote, sum);
    MPI_Comm_free(&all);
    MPI_Comm_disconnect(&other);
    if (rank == 0) {
        MPI_Unpublish_name("leet-port", MPI_INFO_NULL, port);
        MPI_Close_port(port);
    }
    MPI_Comm_free(&half);
    MPI_Finalize();
    return 0;
}
