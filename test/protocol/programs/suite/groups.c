// Groups and communicators: set operations, splits, communicators made by some, and between two halves.
#include "suite.h"
#include <stdlib.h>

static void sets(void)
{
    MPI_Group world, evens, odds, both, none;
    int ranges[1][3] = {{0, size - 1, 2}}, count, result, translated, here = rank;
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_range_incl(world, 1, ranges, &evens);
    MPI_Group_difference(world, evens, &odds);
    MPI_Group_union(odds, evens, &both);
    MPI_Group_intersection(odds, evens, &none);
    MPI_Group_size(evens, &count);
    check(count == (size + 1) / 2, "every second rank");
    MPI_Group_size(odds, &count);
    check(count == size / 2, "the others");
    MPI_Group_compare(world, both, &result);
    check(result == (size == 1 ? MPI_IDENT : MPI_SIMILAR), "union of both");
    check(none == MPI_GROUP_EMPTY || (MPI_Group_size(none, &count), count == 0), "intersection of both");
    MPI_Group_translate_ranks(world, 1, &here, evens, &translated);
    check(translated == (rank % 2 ? MPI_UNDEFINED : rank / 2), "a rank of another group");
    MPI_Group_free(&world);
    MPI_Group_free(&evens);
    if (odds != MPI_GROUP_EMPTY)
        MPI_Group_free(&odds);
    MPI_Group_free(&both);
    if (none != MPI_GROUP_EMPTY)
        MPI_Group_free(&none);
}

static void splits(void)
{
    MPI_Comm part, copy, some;
    MPI_Group world, first;
    int there, sum, one = 1, result, members = (size + 1) / 2;
    int ranges[1][3] = {{0, members - 1, 1}};
    MPI_Comm_split(MPI_COMM_WORLD, rank % 3, -rank, &part);
    MPI_Comm_rank(part, &there);
    MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, part);
    check(sum == (size - rank % 3 + 2) / 3 && there == (size - 1 - rank) / 3, "split in reverse order");
    MPI_Comm_dup(part, &copy);
    MPI_Comm_compare(part, copy, &result);
    check(result == MPI_CONGRUENT, "a copy is congruent");
    MPI_Comm_free(&copy);
    MPI_Comm_free(&part);
    MPI_Comm_split(MPI_COMM_WORLD, rank == 0 ? MPI_UNDEFINED : 1, 0, &part);
    check((part == MPI_COMM_NULL) == (rank == 0), "nobody's part");
    if (part != MPI_COMM_NULL)
        MPI_Comm_free(&part);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_range_incl(world, 1, ranges, &first);
    MPI_Comm_create(MPI_COMM_WORLD, first, &some);
    check((some == MPI_COMM_NULL) == (rank >= members), "a communicator of some");
    if (some != MPI_COMM_NULL)
        MPI_Comm_free(&some);
    if (rank < members) {
        MPI_Comm_create_group(MPI_COMM_WORLD, first, 17, &some);
        MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, some);
        check(sum == members, "a communicator that only its members make");
        MPI_Comm_free(&some);
    }
    MPI_Group_free(&world);
    MPI_Group_free(&first);
}

static void between(void)
{
    MPI_Comm half, bridge, all;
    int remote, here, sum, side = rank % 2;
    if (size < 2)
        return;
    MPI_Comm_split(MPI_COMM_WORLD, side, rank, &half);
    MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, 1 - side, 19, &bridge);
    MPI_Comm_remote_size(bridge, &remote);
    check(remote == (side ? (size + 1) / 2 : size / 2), "ranks of the other half");
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, bridge);
    for (int i = 1 - side; i < size; i += 2)
        sum -= i;
    check(sum == 0, "the sum of the other half");
    MPI_Intercomm_merge(bridge, side, &all);
    MPI_Comm_rank(all, &here);
    check(here == (side ? (size + 1) / 2 : 0) + rank / 2, "place after a merge");
    MPI_Comm_free(&all);
    MPI_Comm_free(&bridge);
    MPI_Comm_free(&half);
}

void groups(void)
{
    sets();
    splits();
    between();
}
