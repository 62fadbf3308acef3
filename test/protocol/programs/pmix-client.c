// A client of the PMIx library without any MPI: everything a rank may ask of its server. Prints one line for each
// thing that went as it must, and names the first that did not.
#include <pmix.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGE 100000
static pmix_proc_t me;
static volatile int told;

static void must(int good, const char *what, int status)
{
    if (good)
        return;
    fprintf(stderr, "rank %u: %s: %s\n", me.rank, what, PMIx_Error_string(status));
    exit(1);
}

static void on_event(size_t id, pmix_status_t status, const pmix_proc_t *source, pmix_info_t info[], size_t ninfo,
                     pmix_info_t *results, size_t nresults, pmix_event_notification_cbfunc_fn_t done, void *data)
{
    if (status == PMIX_EXTERNAL_ERR_BASE - 5 && source->rank == 0)
        told = 1;
    if (done)
        done(PMIX_EVENT_ACTION_COMPLETE, NULL, 0, NULL, NULL, data);
}

static void fence(const pmix_proc_t *procs, size_t count, int collect)
{
    pmix_info_t info;
    bool yes = collect;
    int rc;
    PMIX_INFO_LOAD(&info, PMIX_COLLECT_DATA, &yes, PMIX_BOOL);
    rc = PMIx_Fence(procs, count, &info, 1);
    must(rc == PMIX_SUCCESS, "fence", rc);
}

static void put(pmix_scope_t scope, const char *key, const char *text, size_t length)
{
    pmix_value_t value;
    int rc;
    value.type = PMIX_BYTE_OBJECT;
    value.data.bo.bytes = (char *)text;
    value.data.bo.size = length;
    rc = PMIx_Put(scope, key, &value);
    must(rc == PMIX_SUCCESS, "put", rc);
}

int main(void)
{
    pmix_proc_t all, other, pair[2];
    pmix_value_t *value;
    pmix_info_t info[3], *found = NULL;
    pmix_pdata_t data;
    pmix_query_t query;
    pmix_status_t code = PMIX_EXTERNAL_ERR_BASE - 5;
    char *large = malloc(LARGE), key[64];
    uint32_t size;
    size_t nfound = 0;
    bool yes = true;
    int rc, timeout;

    rc = PMIx_Init(&me, NULL, 0);
    must(rc == PMIX_SUCCESS, "init", rc);
    PMIX_LOAD_PROCID(&all, me.nspace, PMIX_RANK_WILDCARD);
    rc = PMIx_Get(&all, PMIX_JOB_SIZE, NULL, 0, &value);
    must(rc == PMIX_SUCCESS && value->type == PMIX_UINT32, "job size", rc);
    size = value->data.uint32;
    rc = PMIx_Get(&me, PMIX_LOCAL_RANK, NULL, 0, &value);
    must(rc == PMIX_SUCCESS && value->type == PMIX_UINT16, "local rank", rc);

    // Data of 100 kB to all, and a key that only the same guest may see.
    memset(large, 'a' + me.rank, LARGE);
    put(PMIX_GLOBAL, "large", large, LARGE);
    put(PMIX_LOCAL, "near", "near", 5);
    rc = PMIx_Commit();
    must(rc == PMIX_SUCCESS, "commit", rc);
    fence(NULL, 0, 1);
    for (uint32_t rank = 0; rank < size; rank++) {
        PMIX_LOAD_PROCID(&other, me.nspace, rank);
        rc = PMIx_Get(&other, "large", NULL, 0, &value);
        must(rc == PMIX_SUCCESS && value->data.bo.size == LARGE && value->data.bo.bytes[LARGE - 1] == (char)('a' + rank),
             "get", rc);
        PMIX_VALUE_RELEASE(value);
    }

    // The last rank commits late: the first waits for it without a fence.
    if (me.rank == size - 1) {
        usleep(200000);
        put(PMIX_GLOBAL, "late", "late", 5);
        PMIx_Commit();
    } else if (me.rank == 0) {
        PMIX_LOAD_PROCID(&other, me.nspace, size - 1);
        rc = PMIx_Get(&other, "late", NULL, 0, &value);
        must(rc == PMIX_SUCCESS && !strcmp(value->data.bo.bytes, "late"), "late get", rc);
    }
    PMIX_LOAD_PROCID(&other, me.nspace, (me.rank + 1) % size);
    PMIX_INFO_LOAD(&info[0], PMIX_IMMEDIATE, &yes, PMIX_BOOL);
    rc = PMIx_Get(&other, "nothing", info, 1, &value);
    must(rc != PMIX_SUCCESS, "get of nothing", rc);

    // Neighbours fence in pairs, each with its own order of the list.
    if (size % 2 == 0) {
        PMIX_LOAD_PROCID(&pair[0], me.nspace, me.rank);
        PMIX_LOAD_PROCID(&pair[1], me.nspace, me.rank ^ 1);
        fence(pair, 2, 0);
        fence(pair, 2, 1);
    }

    // Everybody publishes; everybody waits for the next rank's name.
    snprintf(key, sizeof key, "name-%u", me.rank);
    PMIX_INFO_LOAD(&info[0], key, &me.rank, PMIX_UINT32);
    rc = PMIx_Publish(info, 1);
    must(rc == PMIX_SUCCESS, "publish", rc);
    rc = PMIx_Publish(info, 1);
    must(rc == PMIX_ERR_DUPLICATE_KEY, "publish twice", rc);
    PMIX_PDATA_CONSTRUCT(&data);
    snprintf(data.key, sizeof data.key, "name-%u", (me.rank + 1) % size);
    timeout = 20;
    PMIX_INFO_LOAD(&info[0], PMIX_WAIT, &yes, PMIX_BOOL);
    PMIX_INFO_LOAD(&info[1], PMIX_TIMEOUT, &timeout, PMIX_INT);
    rc = PMIx_Lookup(&data, 1, info, 2);
    must(rc == PMIX_SUCCESS && data.proc.rank == (me.rank + 1) % size && data.value.data.uint32 == data.proc.rank,
         "lookup", rc);
    PMIX_PDATA_CONSTRUCT(&data);
    strcpy(data.key, "nobody");
    timeout = 1;
    PMIX_INFO_LOAD(&info[1], PMIX_TIMEOUT, &timeout, PMIX_INT);
    rc = PMIx_Lookup(&data, 1, info, 2);
    must(rc == PMIX_ERR_TIMEOUT, "lookup in vain", rc);
    fence(NULL, 0, 0);
    char *keys[] = {key, NULL};
    rc = PMIx_Unpublish(keys, NULL, 0);
    must(rc == PMIX_SUCCESS, "unpublish", rc);

    // Rank 0 tells all others.
    rc = PMIx_Register_event_handler(&code, 1, NULL, 0, on_event, NULL, NULL);
    must(rc >= 0, "register", rc);
    fence(NULL, 0, 0);
    if (me.rank == 0) {
        rc = PMIx_Notify_event(code, &me, PMIX_RANGE_NAMESPACE, NULL, 0, NULL, NULL);
        must(rc == PMIX_SUCCESS || rc == PMIX_OPERATION_SUCCEEDED, "notify", rc);
    } else {
        for (int tenths = 0; !told && tenths < 200; tenths++)
            usleep(100000);
        must(told, "event", 0);
    }

    // What the server does not do is answered, not left hanging.
    PMIX_QUERY_CONSTRUCT(&query);
    PMIX_ARGV_APPEND(rc, query.keys, PMIX_QUERY_NAMESPACES);
    rc = PMIx_Query_info(&query, 1, &found, &nfound);
    must(rc != PMIX_SUCCESS, "query", rc);
    PMIX_INFO_LOAD(&info[0], PMIX_LOG_STDERR, "logged by a rank\n", PMIX_STRING);
    if (me.rank == 0) {
        rc = PMIx_Log(info, 1, NULL, 0);
        must(rc == PMIX_SUCCESS || rc == PMIX_OPERATION_SUCCEEDED, "log", rc);
    }

    rc = PMIx_Connect(&all, 1, NULL, 0);
    must(rc == PMIX_SUCCESS, "connect", rc);
    rc = PMIx_Disconnect(&all, 1, NULL, 0);
    must(rc == PMIX_SUCCESS, "disconnect", rc);
    fence(NULL, 0, 0);
    rc = PMIx_Finalize(NULL, 0);
    must(rc == PMIX_SUCCESS, "finalize", rc);
    printf("rank %u of %u ok\n", me.rank, size);
    return 0;
}
