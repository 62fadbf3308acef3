// A client of the PMIx library that is told to end. Argument: what it makes of it.
//   ends    its handler for everything that has no other ends the program, with status 9
//   stays   its handler goes on
//   deaf    it has no handler
// Writes `ready` once it may be told.
#include <pmix.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *way;

static void on_event(size_t id, pmix_status_t status, const pmix_proc_t *source, pmix_info_t info[], size_t ninfo,
                     pmix_info_t *results, size_t nresults, pmix_event_notification_cbfunc_fn_t done, void *data)
{
    if (!strcmp(way, "ends"))
        _exit(9);
    if (done)
        done(PMIX_EVENT_ACTION_COMPLETE, NULL, 0, NULL, NULL, data);
}

int main(int argc, char **argv)
{
    pmix_proc_t me;
    way = argv[1];
    if (PMIx_Init(&me, NULL, 0) != PMIX_SUCCESS)
        return 1;
    if (strcmp(way, "deaf") && PMIx_Register_event_handler(NULL, 0, NULL, 0, on_event, NULL, NULL) < 0)
        return 2;
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
