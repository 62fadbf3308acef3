// A rank of a job that works on a shared directory: reads `input`, writes `output.RANK`, and meets the others. With
// seconds as first argument it then goes on for so long, always meeting the others; the second is the exit status,
// and with a third one rank ends all others with that in the place of MPI_Finalize.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int rank, size;
    char name[64], host[256] = "", line[256] = "";
    double begin;
    FILE *file;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    gethostname(host, sizeof host - 1);

    file = fopen("input", "r");
    if (!file || !fgets(line, sizeof line, file))
        MPI_Abort(MPI_COMM_WORLD, 21);
    fclose(file);
    snprintf(name, sizeof name, "output.%d", rank);
    file = fopen(name, "w");
    if (!file || fprintf(file, "%d of %d on %s read %s", rank, size, host, line) < 0 || fclose(file))
        MPI_Abort(MPI_COMM_WORLD, 22);
    MPI_Barrier(MPI_COMM_WORLD);

    if (argc > 1) {
        if (rank == 0) {
            puts("all ranks are at work");
            fflush(stdout);
        }
        begin = MPI_Wtime();
        for (int over = 0; !over;) {
            usleep(20000);
            over = MPI_Wtime() - begin > atof(argv[1]);
            MPI_Bcast(&over, 1, MPI_INT, 0, MPI_COMM_WORLD);
        }
    }
    if (argc > 3)
        MPI_Abort(MPI_COMM_WORLD, atoi(argv[2]));
    MPI_Finalize();
    return argc > 2 ? atoi(argv[2]) : 0;
}
