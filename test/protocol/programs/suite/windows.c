// One-sided: put, get, accumulate, fetch and compare, under fences, locks and posted epochs; windows over memory of the
// program, of MPI, and shared by the ranks of a node.
#include "suite.h"

/** Bytes of a window. MPICH 4.0.2 with UCX misses memory that does not begin at a multiple of 16 bytes. */
enum { ROOM = 64 };

static void fenced(void)
{
    int *window, read = -1;
    MPI_Win win;
    MPI_Alloc_mem(ROOM, MPI_INFO_NULL, &window);
    window[0] = -1;
    window[1] = 0;
    MPI_Win_create(window, ROOM, sizeof *window, MPI_INFO_NULL, MPI_COMM_WORLD, &win);
    MPI_Win_fence(0, win);
    MPI_Put(&rank, 1, MPI_INT, (rank + 1) % size, 0, 1, MPI_INT, win);
    MPI_Accumulate(&rank, 1, MPI_INT, 0, 1, 1, MPI_INT, MPI_SUM, win);
    MPI_Win_fence(0, win);
    MPI_Get(&read, 1, MPI_INT, 0, 1, 1, MPI_INT, win);
    MPI_Win_fence(0, win);
    check(window[0] == (rank + size - 1) % size && read == size * (size - 1) / 2, "fences");
    MPI_Win_free(&win);
    MPI_Free_mem(window);
}

// Everybody draws a number from rank 0; each is drawn once.
static void locked(void)
{
    int *shared, one = 1, drawn = -1, sum, seen, swapped = -1, expected = rank, other = rank + 1000;
    MPI_Win win;
    MPI_Win_allocate(ROOM, sizeof *shared, MPI_INFO_NULL, MPI_COMM_WORLD, &shared, &win);
    MPI_Win_lock(MPI_LOCK_EXCLUSIVE, rank, 0, win);
    shared[0] = 0;
    shared[1] = rank;
    MPI_Win_unlock(rank, win);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win);
    MPI_Fetch_and_op(&one, &drawn, MPI_INT, 0, 0, MPI_SUM, win);
    MPI_Win_unlock(0, win);
    check(drawn >= 0 && drawn < size, "fetch and add");
    MPI_Allreduce(&drawn, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    check(sum == size * (size - 1) / 2, "numbers drawn once");
    MPI_Win_lock_all(0, win);
    MPI_Compare_and_swap(&other, &expected, &swapped, MPI_INT, rank, 1, win);
    MPI_Win_flush(rank, win);
    MPI_Get(&seen, 1, MPI_INT, rank, 1, 1, MPI_INT, win);
    MPI_Win_unlock_all(win);
    check(swapped == rank && seen == other, "compare and swap");
    MPI_Win_free(&win);
}

static void posted(void)
{
    int *window, next = (rank + 1) % size, last = (rank + size - 1) % size;
    MPI_Group world, to, from;
    MPI_Win win;
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_incl(world, 1, &next, &to);
    MPI_Group_incl(world, 1, &last, &from);
    MPI_Alloc_mem(ROOM, MPI_INFO_NULL, &window);
    *window = -1;
    MPI_Win_create(window, ROOM, sizeof *window, MPI_INFO_NULL, MPI_COMM_WORLD, &win);
    MPI_Win_post(from, 0, win);
    MPI_Win_start(to, 0, win);
    MPI_Put(&rank, 1, MPI_INT, next, 0, 1, MPI_INT, win);
    MPI_Win_complete(win);
    MPI_Win_wait(win);
    check(*window == last, "post and start");
    MPI_Win_free(&win);
    MPI_Free_mem(window);
    MPI_Group_free(&world);
    MPI_Group_free(&to);
    MPI_Group_free(&from);
}

// Only ranks that share memory may share a window.
static void shared(void)
{
    MPI_Comm near;
    MPI_Win win;
    MPI_Aint bytes;
    int here, there, unit, *mine, *theirs;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &near);
    MPI_Comm_rank(near, &here);
    MPI_Comm_size(near, &there);
    MPI_Win_allocate_shared(sizeof *mine, sizeof *mine, MPI_INFO_NULL, near, &mine, &win);
    MPI_Win_lock_all(MPI_MODE_NOCHECK, win);
    *mine = here;
    MPI_Win_sync(win);
    MPI_Barrier(near);
    MPI_Win_sync(win);
    MPI_Win_shared_query(win, (here + 1) % there, &bytes, &unit, &theirs);
    check(*theirs == (here + 1) % there, "memory of a neighbour");
    MPI_Win_unlock_all(win);
    MPI_Win_free(&win);
    MPI_Comm_free(&near);
}

void windows(void)
{
    fenced();
    locked();
    posted();
    shared();
}
