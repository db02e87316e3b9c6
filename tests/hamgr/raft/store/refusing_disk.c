/* Preloaded into a process, it has one kind of call on one file fail as a disk fails.
 *
 * HAMGR_TEST_DISK names a file. While it is there it says which: "CALL NAME ERRNO", for example
 * "fdatasync journal 5"; NAME is the last part of the path of the file or folder.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int refused(const char *call, int file)
{
    char order[256] = "", wanted[64], name[128], link[64], path[4096];
    const char *where = getenv("HAMGR_TEST_DISK"), *last;
    int number, orders, saved = errno;
    ssize_t size;

    if (where == NULL || (orders = open(where, O_RDONLY | O_CLOEXEC)) < 0) {
        errno = saved;
        return 0;
    }
    size = read(orders, order, sizeof order - 1);
    close(orders);
    errno = saved;
    if (size <= 0 || sscanf(order, "%63s %127s %d", wanted, name, &number) != 3 || strcmp(wanted, call) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    size = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (size < 0)
        return 0;
    path[size] = '\0';
    last = strrchr(path, '/');
    if (last == NULL || strcmp(last + 1, name) != 0)
        return 0;
    errno = number;
    return 1;
}

ssize_t write(int file, const void *data, size_t count)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL)
        real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return refused("write", file) ? -1 : real(file, data, count);
}

int fdatasync(int file)
{
    static int (*real)(int);
    if (real == NULL)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return refused("fdatasync", file) ? -1 : real(file);
}

int fsync(int file)
{
    static int (*real)(int);
    if (real == NULL)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return refused("fsync", file) ? -1 : real(file);
}
