// Topologies: a torus with its shifts and rows, a ring as a graph and as a distributed graph, and exchanges between
// neighbours.
#include "suite.h"
#include <stdlib.h>

static void torus(void)
{
    MPI_Comm grid, row;
    int dims[2] = {0, 0}, periods[2] = {1, 1}, coords[2], there, low, high, in[4], count, found, kept = 0;
    int keep[2] = {0, 1};
    MPI_Dims_create(size, 2, dims);
    check(dims[0] * dims[1] == size, "dimensions");
    MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &grid);
    MPI_Cartdim_get(grid, &count);
    MPI_Topo_test(grid, &found);
    check(count == 2 && found == MPI_CART, "kind of a torus");
    MPI_Cart_coords(grid, rank, 2, coords);
    MPI_Cart_rank(grid, coords, &there);
    check(there == rank, "coordinates there and back");
    MPI_Cart_shift(grid, 1, 1, &low, &high);
    coords[1]++;
    MPI_Cart_rank(grid, coords, &there);
    check(there == high, "one step further");
    MPI_Neighbor_allgather(&rank, 1, MPI_INT, in, 1, MPI_INT, grid);
    check(in[2] == low && in[3] == high, "neighbours of a torus");
    MPI_Cart_sub(grid, keep, &row);
    MPI_Comm_size(row, &kept);
    check(kept == dims[1], "a row");
    MPI_Comm_free(&row);
    MPI_Comm_free(&grid);
}

static void ring(void)
{
    MPI_Comm graph;
    int *index = malloc(size * sizeof *index), *edges = malloc(2 * size * sizeof *edges), count, mine[2];
    for (int i = 0; i < size; i++) {
        index[i] = 2 * (i + 1);
        edges[2 * i] = (i + size - 1) % size;
        edges[2 * i + 1] = (i + 1) % size;
    }
    MPI_Graph_create(MPI_COMM_WORLD, size, index, edges, 0, &graph);
    MPI_Graph_neighbors_count(graph, rank, &count);
    MPI_Graph_neighbors(graph, rank, 2, mine);
    check(count == 2 && mine[0] == (rank + size - 1) % size && mine[1] == (rank + 1) % size, "a graph");
    MPI_Comm_free(&graph);
    free(index);
    free(edges);
}

static void arrows(void)
{
    MPI_Comm graph;
    int next = (rank + 1) % size, last = (rank + size - 1) % size, in, out, weighted, got = -1;
    MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 1, &last, MPI_UNWEIGHTED, 1, &next, MPI_UNWEIGHTED,
                                   MPI_INFO_NULL, 0, &graph);
    MPI_Dist_graph_neighbors_count(graph, &in, &out, &weighted);
    check(in == 1 && out == 1 && !weighted, "a distributed graph");
    MPI_Neighbor_alltoall(&rank, 1, MPI_INT, &got, 1, MPI_INT, graph);
    check(got == last, "from neighbour to neighbour");
    MPI_Comm_free(&graph);
}

void topologies(void)
{
    torus();
    ring();
    arrows();
}
