// What `leet bench` measures of MPI itself: latency and bandwidth between the first and the last rank, and allreduce over
// all, for each message size. Usage: micro SIZE[,SIZE…] SECONDS, the time spent on each size.
//
// Rank 0 prints lines for launcher/bench/micro.ts: `leet-bench begin RANKS` when all are through MPI_Init, then
// `leet-bench TEST BYTES VALUE` in seconds or bytes per second, and `leet-bench end`. A value is the median of BATCHES
// batches, so that one interruption does not count.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCHES = 5, WINDOW = 64, WINDOW_BYTES = 4 << 20, MOST_SIZES = 64, WORK = 1, ACK = 2 };

static int rank, ranks;
static double budget;
static char *out, *in;

static void fail(const char *what) {
  fprintf(stderr, "leet-bench: %s\n", what);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

static void ping_pong(long size, long times) {
  const int peer = rank == 0 ? ranks - 1 : 0;
  for (long i = 0; i < times; i++) {
    if (rank == 0) {
      MPI_Send(out, (int)size, MPI_CHAR, peer, WORK, MPI_COMM_WORLD);
      MPI_Recv(in, (int)size, MPI_CHAR, peer, WORK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
      MPI_Recv(in, (int)size, MPI_CHAR, peer, WORK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(in, (int)size, MPI_CHAR, peer, WORK, MPI_COMM_WORLD);
    }
  }
}

// How many messages are under way at once. Of large ones a few fill any network, and more would take long on a slow one.
static int window(long size) {
  const long fitting = WINDOW_BYTES / size;
  return fitting < 1 ? 1 : fitting < WINDOW ? (int)fitting : WINDOW;
}

// A window of messages, and a short answer that says that all have arrived.
static void stream(long size, long times) {
  static MPI_Request requests[WINDOW];
  const int peer = rank == 0 ? ranks - 1 : 0, count = window(size);
  char ack = 0;
  for (long i = 0; i < times; i++) {
    for (int k = 0; k < count; k++) {
      if (rank == 0) MPI_Isend(out, (int)size, MPI_CHAR, peer, WORK, MPI_COMM_WORLD, &requests[k]);
      else MPI_Irecv(in, (int)size, MPI_CHAR, peer, WORK, MPI_COMM_WORLD, &requests[k]);
    }
    MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
    if (rank == 0) MPI_Recv(&ack, 1, MPI_CHAR, peer, ACK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    else MPI_Send(&ack, 1, MPI_CHAR, peer, ACK, MPI_COMM_WORLD);
  }
}

static void allreduce(long size, long times) {
  for (long i = 0; i < times; i++)
    MPI_Allreduce(out, in, (int)(size / (long)sizeof(float)), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// Ranks that have no part do not spin: their processors may be the ones that are measured.
static void meet(void) {
  const struct timespec nap = {0, 1000000};
  MPI_Request request;
  int done = 0;
  MPI_Ibarrier(MPI_COMM_WORLD, &request);
  for (;;) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done) return;
    nanosleep(&nap, NULL);
  }
}

// Seconds that one of `times` repetitions takes, on rank 0.
static double timed(void (*test)(long, long), MPI_Comm part, long size, long times) {
  MPI_Barrier(part);
  const double begin = MPI_Wtime();
  test(size, times);
  return (MPI_Wtime() - begin) / (double)times;
}

// Repeats a test for as long as the budget allows; the first repetitions warm up and tell how many that are.
static double measure(void (*test)(long, long), MPI_Comm part, long size) {
  long times = 1;
  for (;;) {
    const double each = timed(test, part, size, times);
    long next = each * (double)times >= budget / 20 ? 0 : times * 2;
    if (next == 0) {
      times = (long)(budget / BATCHES / (each > 0 ? each : 1e-9));
      if (times < 1) times = 1;
    }
    long plan[2] = {next, times};
    MPI_Bcast(plan, 2, MPI_LONG, 0, part);
    times = plan[0] == 0 ? plan[1] : plan[0];
    if (plan[0] == 0) break;
  }
  double each[BATCHES];
  for (int batch = 0; batch < BATCHES; batch++) each[batch] = timed(test, part, size, times);
  qsort(each, BATCHES, sizeof *each, ascending);
  return each[BATCHES / 2];
}

static void say(const char *test, long size, double value) {
  if (rank == 0) printf("leet-bench %s %ld %.9g\n", test, size, value);
}

int main(int argc, char **argv) {
  long sizes[MOST_SIZES], largest = (long)sizeof(float);
  int count = 0;
  MPI_Comm pair;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (argc != 3) fail("usage: micro SIZE[,SIZE...] SECONDS");
  for (char *text = argv[1]; *text && count < MOST_SIZES; count++) {
    sizes[count] = strtol(text, &text, 10);
    if (*text == ',') text++;
    else if (*text) fail("the sizes are no list of numbers");
    if (sizes[count] > largest) largest = sizes[count];
  }
  budget = atof(argv[2]);
  out = malloc((size_t)largest);
  in = malloc((size_t)largest);
  if (!out || !in) fail("not enough memory for the largest message");
  for (long i = 0; i + (long)sizeof(float) <= largest; i += (long)sizeof(float)) *(float *)(out + i) = 1;
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) {
    printf("leet-bench begin %d\n", ranks);
    fflush(stdout);
  }

  const int has_part = rank == 0 || rank == ranks - 1;
  MPI_Comm_split(MPI_COMM_WORLD, has_part ? 0 : MPI_UNDEFINED, rank, &pair);
  if (has_part && ranks > 1) {
    for (int i = 0; i < count; i++) say("latency", sizes[i], measure(ping_pong, pair, sizes[i]) / 2);
    if (memcmp(in, out, (size_t)sizes[count - 1]) != 0 && rank == 0) fail("a message came back changed");
    for (int i = 0; i < count; i++)
      say("bandwidth", sizes[i], (double)sizes[i] * window(sizes[i]) / measure(stream, pair, sizes[i]));
  }
  meet();
  for (int i = 0; i < count; i++) {
    if (sizes[i] < (long)sizeof(float)) continue;
    say("allreduce", sizes[i], measure(allreduce, MPI_COMM_WORLD, sizes[i]));
    if (*(float *)in != (float)ranks) fail("an allreduce gave a wrong sum");
  }
  if (rank == 0) printf("leet-bench end\n");
  MPI_Finalize();
  return 0;
}
