// What the parts of the suite share. Each part is one function that checks what MPI promises for the size of the job;
// the first thing that is wrong is named on stderr and ends the job with status 1.
#include <mpi.h>

extern int rank, size;

void check(int good, const char *what);

void pt2pt(void);
void collectives(void);
void groups(void);
void topologies(void);
void windows(void);
void attributes(void);
