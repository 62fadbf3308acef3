// Messages between two: all modes of sending, wildcards, probes, persistent and cancelled requests, datatypes, and
// lengths on both sides of what MPI libraries send at once.
#include "suite.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int next, last;

static void lengths(void)
{
    for (int bytes = 0; bytes <= 1 << 20; bytes = bytes ? bytes * 8 : 1) {
        char *out = malloc(bytes + 1), *in = calloc(bytes + 1, 1);
        MPI_Status status;
        int count;
        memset(out, 'a' + rank % 26, bytes);
        MPI_Sendrecv(out, bytes, MPI_CHAR, next, 1, in, bytes, MPI_CHAR, last, 1, MPI_COMM_WORLD, &status);
        MPI_Get_count(&status, MPI_CHAR, &count);
        check(count == bytes && status.MPI_SOURCE == last && status.MPI_TAG == 1, "status of a message");
        check(bytes == 0 || (in[0] == 'a' + last % 26 && in[bytes - 1] == in[0]), "content of a message");
        free(out);
        free(in);
    }
}

static void modes(void)
{
    int value = rank, got[4] = {-1, -1, -1, -1}, room;
    MPI_Request requests[8];
    char *buffer;
    for (int i = 0; i < 4; i++)
        MPI_Irecv(&got[i], 1, MPI_INT, last, 10 + i, MPI_COMM_WORLD, &requests[i]);
    // A ready send needs a receive that is posted.
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Pack_size(1, MPI_INT, MPI_COMM_WORLD, &room);
    room += MPI_BSEND_OVERHEAD;
    buffer = malloc(room);
    MPI_Buffer_attach(buffer, room);
    MPI_Isend(&value, 1, MPI_INT, next, 10, MPI_COMM_WORLD, &requests[4]);
    MPI_Issend(&value, 1, MPI_INT, next, 11, MPI_COMM_WORLD, &requests[5]);
    MPI_Irsend(&value, 1, MPI_INT, next, 12, MPI_COMM_WORLD, &requests[6]);
    MPI_Ibsend(&value, 1, MPI_INT, next, 13, MPI_COMM_WORLD, &requests[7]);
    MPI_Waitall(8, requests, MPI_STATUSES_IGNORE);
    MPI_Buffer_detach(&buffer, &room);
    free(buffer);
    for (int i = 0; i < 4; i++)
        check(got[i] == last, "modes of sending");
}

static void wildcards(void)
{
    int value = rank * rank, seen = 0, sum = 0, flag = 0;
    if (rank != 0) {
        MPI_Send(&value, 1, MPI_INT, 0, 100 + rank, MPI_COMM_WORLD);
        return;
    }
    for (int i = 1; i < size; i++) {
        MPI_Status status;
        MPI_Message message;
        int got;
        if (i % 2) {
            MPI_Probe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
            MPI_Recv(&got, 1, MPI_INT, status.MPI_SOURCE, status.MPI_TAG, MPI_COMM_WORLD, &status);
        } else {
            MPI_Mprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &message, &status);
            MPI_Mrecv(&got, 1, MPI_INT, &message, &status);
        }
        check(status.MPI_TAG == 100 + status.MPI_SOURCE && got == status.MPI_SOURCE * status.MPI_SOURCE, "wildcards");
        seen++;
        sum += status.MPI_SOURCE;
    }
    check(seen == size - 1 && sum == size * (size - 1) / 2, "a message from everybody");
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
    check(!flag, "no message that nobody sent");
}

static void persistent(void)
{
    int out, in = -1;
    MPI_Request requests[2], never;
    MPI_Status status;
    int cancelled = 0;
    MPI_Send_init(&out, 1, MPI_INT, next, 3, MPI_COMM_WORLD, &requests[0]);
    MPI_Recv_init(&in, 1, MPI_INT, last, 3, MPI_COMM_WORLD, &requests[1]);
    for (int round = 0; round < 3; round++) {
        out = rank + round;
        MPI_Startall(2, requests);
        MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
        check(in == last + round, "persistent requests");
    }
    MPI_Request_free(&requests[0]);
    MPI_Request_free(&requests[1]);
    MPI_Irecv(&in, 1, MPI_INT, last, 4, MPI_COMM_WORLD, &never);
    MPI_Cancel(&never);
    MPI_Wait(&never, &status);
    MPI_Test_cancelled(&status, &cancelled);
    check(cancelled, "a receive that is cancelled");
}

static void datatypes(void)
{
    enum { N = 8 };
    struct pair {
        char letter;
        double number;
    } out = {'x', rank + 0.5}, in = {0, 0};
    int matrix[N][N], column[N], lengths[2] = {1, 1}, position = 0;
    MPI_Aint places[2] = {offsetof(struct pair, letter), offsetof(struct pair, number)};
    MPI_Datatype types[2] = {MPI_CHAR, MPI_DOUBLE}, made, pair_type, column_type;
    char packed[64];
    MPI_Type_create_struct(2, lengths, places, types, &made);
    MPI_Type_create_resized(made, 0, sizeof out, &pair_type);
    MPI_Type_commit(&pair_type);
    MPI_Sendrecv(&out, 1, pair_type, next, 5, &in, 1, pair_type, last, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    check(in.letter == 'x' && in.number == last + 0.5, "a struct");
    MPI_Type_vector(N, 1, N, MPI_INT, &column_type);
    MPI_Type_commit(&column_type);
    for (int i = 0; i < N * N; i++)
        matrix[i / N][i % N] = rank * 1000 + i;
    MPI_Sendrecv(&matrix[0][2], 1, column_type, next, 6, column, N, MPI_INT, last, 6, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
    for (int i = 0; i < N; i++)
        check(column[i] == last * 1000 + i * N + 2, "a column of a matrix");
    MPI_Pack(&rank, 1, MPI_INT, packed, sizeof packed, &position, MPI_COMM_WORLD);
    MPI_Pack(&out.number, 1, MPI_DOUBLE, packed, sizeof packed, &position, MPI_COMM_WORLD);
    MPI_Sendrecv_replace(packed, sizeof packed, MPI_PACKED, next, 7, last, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    position = 0;
    MPI_Unpack(packed, sizeof packed, &position, column, 1, MPI_INT, MPI_COMM_WORLD);
    MPI_Unpack(packed, sizeof packed, &position, &in.number, 1, MPI_DOUBLE, MPI_COMM_WORLD);
    check(column[0] == last && in.number == last + 0.5, "packed data");
    MPI_Type_free(&made);
    MPI_Type_free(&pair_type);
    MPI_Type_free(&column_type);
}

void pt2pt(void)
{
    next = (rank + 1) % size;
    last = (rank + size - 1) % size;
    lengths();
    modes();
    wildcards();
    // Who takes anybody's message must not take one of the next part.
    MPI_Barrier(MPI_COMM_WORLD);
    persistent();
    datatypes();
}
