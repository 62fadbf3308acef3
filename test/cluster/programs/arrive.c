// A rank that says `arrived` when it enters MPI_Init. With the argument `serve` one rank of each guest (an even one,
// of two) then becomes an SSH server of its user on port 2222, so that others can start ranks in the same guest.
#include <mpi.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int rank;
    int serves = argc > 1 && strcmp(argv[1], "serve") == 0;
    char *server[] = {"/leet/sshd", "-F", "-s", "-m", "-p", "2222", "-r", "sshd.key", "-P", "/tmp/sshd.pid", NULL};

    if (write(STDOUT_FILENO, "arrived\n", 8) != 8)
        return 1;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Finalize();
    if (!serves || rank % 2 != 0)
        return 0;
    if (write(STDOUT_FILENO, "serving\n", 8) != 8)
        return 1;
    execv(server[0], server);
    return 127;
}
