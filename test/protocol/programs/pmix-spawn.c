// Dynamic processes: the parents start two commands of this program at once, merge with the children, add up, and
// let go. Arguments of children: "child", their command, and one with a space.
#include <mpi.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    int rank, size, sum, one = 1, appnum = -1, *attribute, flag;
    MPI_Comm parent, children, all;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_get_parent(&parent);
    if (parent == MPI_COMM_NULL) {
        char *commands[2] = {argv[0], argv[0]};
        char *first[] = {"child", "0", "a b", NULL}, *second[] = {"child", "1", "a b", NULL};
        char **arguments[2] = {first, second};
        int counts[2] = {2, 1}, codes[3] = {-1, -1, -1};
        MPI_Info infos[2];
        MPI_Info_create(&infos[0]);
        MPI_Info_set(infos[0], "wdir", "/");
        infos[1] = MPI_INFO_NULL;
        MPI_Comm_spawn_multiple(2, commands, arguments, counts, infos, 0, MPI_COMM_WORLD, &children, codes);
        MPI_Info_free(&infos[0]);
        MPI_Intercomm_merge(children, 0, &all);
        MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, all);
        printf("parent %d of %d sum %d codes %d %d %d\n", rank, size, sum, codes[0], codes[1], codes[2]);
        MPI_Comm_free(&all);
        MPI_Comm_disconnect(&children);
    } else {
        MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_APPNUM, &attribute, &flag);
        if (flag)
            appnum = *attribute;
        MPI_Intercomm_merge(parent, 1, &all);
        MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, all);
        printf("child %d of %d command %s app %d text %s sum %d\n", rank, size, argv[2], appnum, argv[3], sum);
        MPI_Comm_free(&all);
        MPI_Comm_disconnect(&parent);
    }
    MPI_Finalize();
    return 0;
}
