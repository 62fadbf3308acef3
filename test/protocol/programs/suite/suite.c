// The suite: runs the parts named on the command line, or all, in one MPI_Init. Rank 0 says "PART ok" when all ranks are
// done with a part; every rank says at the end what it knows of the job.
#include "suite.h"
#include <stdio.h>
#include <string.h>

int rank, size;

void check(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "rank %d: wrong: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static const struct {
    const char *name;
    void (*run)(void);
} parts[] = {
    {"pt2pt", pt2pt},           {"collectives", collectives}, {"groups", groups},
    {"topologies", topologies}, {"windows", windows},         {"attributes", attributes},
};

static int wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], name))
            return 1;
    return argc == 1;
}

int main(int argc, char **argv)
{
    int provided, neighbours;
    MPI_Comm near;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!wanted(parts[i].name, argc, argv))
            continue;
        parts[i].run();
        MPI_Barrier(MPI_COMM_WORLD);
        if (rank == 0)
            printf("%s ok\n", parts[i].name);
    }
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &near);
    MPI_Comm_size(near, &neighbours);
    MPI_Comm_free(&near);
    printf("rank %d of %d shares memory with %d\n", rank, size, neighbours);
    MPI_Finalize();
    return 0;
}
