// Collectives over all ranks: each with every rank as its root where it has one, in place, with a user's operation, and
// as requests.
#include "suite.h"
#include <stdlib.h>

static int total; // 0 + 1 + … + (size - 1)

static void rooted(int root)
{
    int value = rank == root ? 4711 + root : 0, sum = -1, got = -1;
    int *all = malloc(size * sizeof *all);
    MPI_Bcast(&value, 1, MPI_INT, root, MPI_COMM_WORLD);
    check(value == 4711 + root, "bcast");
    MPI_Reduce(&rank, &sum, 1, MPI_INT, MPI_SUM, root, MPI_COMM_WORLD);
    check(rank != root || sum == total, "reduce");
    MPI_Gather(&rank, 1, MPI_INT, all, 1, MPI_INT, root, MPI_COMM_WORLD);
    for (int i = 0; rank == root && i < size; i++) {
        check(all[i] == i, "gather");
        all[i] = i * 3;
    }
    MPI_Scatter(all, 1, MPI_INT, &got, 1, MPI_INT, root, MPI_COMM_WORLD);
    check(got == rank * 3, "scatter");
    free(all);
}

// Rank r has r + 1 numbers.
static void uneven(void)
{
    int count = rank + 1, *counts = malloc(size * sizeof *counts), *places = malloc(size * sizeof *places);
    int *mine = malloc(count * sizeof *mine), *all = malloc((total + size) * sizeof *all);
    for (int i = 0, at = 0; i < size; i++) {
        counts[i] = i + 1;
        places[i] = at;
        at += i + 1;
    }
    for (int i = 0; i < count; i++)
        mine[i] = rank;
    MPI_Allgatherv(mine, count, MPI_INT, all, counts, places, MPI_INT, MPI_COMM_WORLD);
    for (int i = 0; i < size; i++)
        for (int j = 0; j <= i; j++)
            check(all[places[i] + j] == i, "allgatherv");
    MPI_Scatterv(all, counts, places, MPI_INT, mine, count, MPI_INT, 0, MPI_COMM_WORLD);
    check(mine[count - 1] == rank, "scatterv");
    MPI_Gatherv(mine, count, MPI_INT, all, counts, places, MPI_INT, size - 1, MPI_COMM_WORLD);
    check(rank != size - 1 || all[total + size - 1] == size - 1, "gatherv");
    free(counts);
    free(places);
    free(mine);
    free(all);
}

static void everybody(void)
{
    int sum, prefix = 0, *out = malloc(size * sizeof *out), *in = malloc(size * sizeof *in);
    MPI_Request requests[2];
    double least = rank + 1, most;
    struct {
        int value, where;
    } mine = {-(rank * 7 % size), rank}, best;
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    check(sum == total, "allreduce");
    MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_DOUBLE, MPI_MIN, MPI_COMM_WORLD);
    check(least == 1, "allreduce in place");
    most = rank;
    MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    check(most == size - 1, "maximum");
    MPI_Allreduce(&mine, &best, 1, MPI_2INT, MPI_MINLOC, MPI_COMM_WORLD);
    check(-best.value == best.where * 7 % size, "least with its place");
    for (int i = 0; i < size; i++)
        out[i] = rank * 1000 + i;
    MPI_Alltoall(out, 1, MPI_INT, in, 1, MPI_INT, MPI_COMM_WORLD);
    for (int i = 0; i < size; i++)
        check(in[i] == i * 1000 + rank, "alltoall");
    MPI_Reduce_scatter_block(out, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    check(sum == total * 1000 + size * rank, "reduce_scatter_block");
    MPI_Scan(&rank, &prefix, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    check(prefix == rank * (rank + 1) / 2, "scan");
    MPI_Exscan(&rank, &prefix, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    check(rank == 0 || prefix == rank * (rank - 1) / 2, "exscan");
    MPI_Iallreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &requests[0]);
    MPI_Ibarrier(MPI_COMM_WORLD, &requests[1]);
    MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
    check(sum == total, "collectives as requests");
    free(out);
    free(in);
}

// Puts two permutations of three one after the other: the order of the operands matters.
static void compose(void *first, void *second, int *length, MPI_Datatype *type)
{
    (void)type;
    for (int i = 0; i < *length; i++) {
        int *a = (int *)first + 3 * i, *b = (int *)second + 3 * i, result[3];
        for (int j = 0; j < 3; j++)
            result[j] = b[a[j]];
        for (int j = 0; j < 3; j++)
            b[j] = result[j];
    }
}

static void ordered(void)
{
    int turn[3] = {1, 2, 0}, swap[3] = {1, 0, 2}, mine[3], got[3], expected[3] = {0, 1, 2};
    MPI_Datatype three;
    MPI_Op op;
    MPI_Type_contiguous(3, MPI_INT, &three);
    MPI_Type_commit(&three);
    MPI_Op_create(compose, 0, &op);
    for (int i = 0; i < 3; i++)
        mine[i] = rank % 2 ? swap[i] : turn[i];
    MPI_Allreduce(mine, got, 1, three, op, MPI_COMM_WORLD);
    for (int r = 0; r < size; r++)
        for (int i = 0; i < 3; i++)
            expected[i] = r % 2 ? swap[expected[i]] : turn[expected[i]];
    for (int i = 0; i < 3; i++)
        check(got[i] == expected[i], "an operation that does not commute");
    MPI_Op_free(&op);
    MPI_Type_free(&three);
}

void collectives(void)
{
    total = size * (size - 1) / 2;
    for (int root = 0; root < size; root++)
        rooted(root);
    uneven();
    everybody();
    ordered();
}
