// Attributes, names, infos and error handlers: what is asked of the job itself, and what a program hangs on to it.
#include "suite.h"
#include <stdlib.h>
#include <string.h>

static int copied, deleted, failed;

static int on_copy(MPI_Comm comm, int key, void *extra, void *in, void *out, int *flag)
{
    (void)comm, (void)key, (void)extra;
    copied++;
    *(void **)out = in;
    *flag = 1;
    return MPI_SUCCESS;
}

static int on_delete(MPI_Comm comm, int key, void *value, void *extra)
{
    (void)comm, (void)key, (void)value, (void)extra;
    deleted++;
    return MPI_SUCCESS;
}

static void on_error(MPI_Comm *comm, int *code, ...)
{
    (void)comm;
    MPI_Error_class(*code, &failed);
}

static void predefined(void)
{
    int *value, flag, most, version, subversion;
    char name[MPI_MAX_PROCESSOR_NAME], library[MPI_MAX_LIBRARY_VERSION_STRING];
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &value, &flag);
    check(flag && *value >= 32767, "largest tag");
    MPI_Allreduce(value, &most, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    check(most == *value, "largest tag everywhere");
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_UNIVERSE_SIZE, &value, &flag);
    check(!flag || *value > 0, "size of the universe");
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_APPNUM, &value, &flag);
    check(!flag || *value == 0, "number of the program");
    MPI_Get_processor_name(name, &flag);
    check(flag > 0 && (size_t)flag == strlen(name), "name of the processor");
    MPI_Get_library_version(library, &flag);
    MPI_Get_version(&version, &subversion);
    check(flag > 0 && version >= 3, "version");
}

static void own(void)
{
    MPI_Comm copy;
    int key, flag, word = 42, *got = NULL;
    char name[MPI_MAX_OBJECT_NAME];
    MPI_Comm_create_keyval(on_copy, on_delete, &key, NULL);
    MPI_Comm_set_attr(MPI_COMM_WORLD, key, &word);
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
    MPI_Comm_get_attr(copy, key, &got, &flag);
    check(flag && got == &word && copied == 1, "an attribute goes with a copy");
    MPI_Comm_set_name(copy, "a copy");
    MPI_Comm_get_name(copy, name, &flag);
    check(!strcmp(name, "a copy"), "name of a communicator");
    MPI_Comm_free(&copy);
    MPI_Comm_delete_attr(MPI_COMM_WORLD, key);
    check(deleted == 2, "attributes are deleted");
    MPI_Comm_free_keyval(&key);
}

static void infos(void)
{
    MPI_Info info;
    char value[16] = "";
    int flag, keys;
    MPI_Info_create(&info);
    MPI_Info_set(info, "key", "value");
    MPI_Info_get(info, "key", sizeof value - 1, value, &flag);
    MPI_Info_get_nkeys(info, &keys);
    check(flag && keys == 1 && !strcmp(value, "value"), "an info");
    MPI_Info_get(info, "other", sizeof value - 1, value, &flag);
    check(!flag, "an info without that key");
    MPI_Info_free(&info);
}

static void errors(void)
{
    MPI_Comm copy;
    MPI_Errhandler handler;
    int class, code;
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
    MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN);
    code = MPI_Send(&code, 1, MPI_INT, size, 0, copy);
    MPI_Error_class(code, &class);
    check(class == MPI_ERR_RANK, "an error that is returned");
    MPI_Comm_create_errhandler(on_error, &handler);
    MPI_Comm_set_errhandler(copy, handler);
    MPI_Errhandler_free(&handler);
    MPI_Send(&code, 1, MPI_INT, size, 0, copy);
    check(failed == MPI_ERR_RANK, "an error that is handled");
    MPI_Comm_free(&copy);
}

void attributes(void)
{
    predefined();
    own();
    infos();
    errors();
}
