// Writes results as solvers do, `results HOW`: each rank a file of its own and one that is alike, and rank 1 changes the input.
// Then it ends as HOW says: `well`; `abort` by rank 1 while the others wait; `apart`, with what is alike made different.
#include <mpi.h>
#include <stdio.h>
#include <string.h>

static void put(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");
	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		MPI_Abort(MPI_COMM_WORLD, 9);
}

int main(int argc, char **argv)
{
	int rank;
	char name[32];
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	snprintf(name, sizeof name, "result %d", rank);
	put(name, name);
	put("alike", strcmp(argv[1], "apart") == 0 ? name : "alike");
	if (rank == 1)
		put("input", "changed");
	MPI_Barrier(MPI_COMM_WORLD);
	if (strcmp(argv[1], "abort") == 0) {
		if (rank == 1)
			MPI_Abort(MPI_COMM_WORLD, 42);
		MPI_Barrier(MPI_COMM_WORLD);
	}
	MPI_Finalize();
	return 0;
}
