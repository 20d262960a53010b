/* Reading and writing whole files.

   An atomic write makes a temporary file in the same folder, flushes it to the disk,
   renames it over the target, and flushes the folder. The folder is opened once and all
   names are relative to it: if its path leads elsewhere meanwhile, the file and its
   temporary still meet. A failure removes the temporary and leaves the target as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/fs.h"
#include "secret/gate.h"

struct err *fs_gate(const char *op, const char *path)
{
    return gate_may_write(path) ? NULL : gate_refusal(op, path);
}

static struct err *too_large(const char *op, const char *path, size_t limit)
{
    return err_new("fs.too_large", op, "%s: larger than %zu bytes", path, limit);
}

/* Of a file that has a size, no more than that: its end needs no call of its own. */
static struct err *read_all(int fd, const char *op, const char *path, size_t size,
                            size_t limit, struct buf *out)
{
    char part[16384];
    struct err *e = NULL;
    size_t total = 0;
    while (!e && (size == 0 || total < size)) {
        size_t left = size ? size - total : sizeof part;
        ssize_t n = read(fd, part, left < sizeof part ? left : sizeof part);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            e = err_errno(errno, op, path);
        } else if ((total += (size_t)n) > limit) {
            e = too_large(op, path, limit);
        } else {
            buf_add(out, part, (size_t)n);
        }
    }
    mem_wipe(part, total < sizeof part ? total : sizeof part);
    return e;
}

struct err *fs_read(const char *op, const char *path, size_t limit, struct buf *out)
{
    /* Opening must not wait for the writer of a FIFO; reading from one that is there may.
     */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_errno(errno, op, path);
    struct stat st;
    struct err *e = NULL;
    if (fstat(fd, &st) != 0)
        e = err_errno(errno, op, path);
    else if (S_ISDIR(st.st_mode))
        e = err_errno(EISDIR, op, path);
    else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > limit)
        e = too_large(op, path, limit);
    if (!e) {
        bool regular = S_ISREG(st.st_mode);
        if (!regular)
            (void)fcntl(fd, F_SETFL, 0);
        e = read_all(fd, op, path, regular ? (size_t)st.st_size : 0, limit, out);
    }
    close(fd);
    return e;
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* Splits at the last slash: an open folder, and the name in it. -1: errno says why. */
static int open_folder(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (!**name || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0) {
        errno = EISDIR;
        return -1;
    }
    size_t len = slash ? (size_t)(slash - path) : 0;
    char *folder = slash ? mem_copy(len ? path : "/", len ? len : 1) : mem_string(".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int number = errno;
    mem_free(folder);
    errno = number;
    return fd;
}

enum { TEMPORARY_MAX = 64 };

static int open_temporary(int folder, char name[TEMPORARY_MAX], mode_t mode)
{
    for (int tries = 0; tries < 100; tries++) {
        uint64_t number = 0;
        if (getrandom(&number, sizeof number, 0) != sizeof number)
            return -1;
        snprintf(name, TEMPORARY_MAX, ".dgrun-%016llx", (unsigned long long)number);
        int fd = openat(folder, name,
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

static bool replace(int folder, const char *name, const char *data, size_t len,
                    mode_t mode)
{
    char temporary[TEMPORARY_MAX];
    int fd = open_temporary(folder, temporary, mode);
    if (fd < 0)
        return false;
    bool good = fchmod(fd, mode) == 0 && write_all(fd, data, len) && fsync(fd) == 0;
    int number = errno;
    good = close(fd) == 0 && good;
    if (good) {
        good = renameat(folder, temporary, folder, name) == 0;
        number = errno;
    }
    if (!good)
        unlinkat(folder, temporary, 0);
    else
        (void)fsync(
            folder); /* not every file system can; the rename stands all the same */
    errno = number;
    return good;
}

static struct err *replace_path(const char *op, const char *path, const char *data,
                                size_t len, mode_t mode)
{
    const char *name;
    int folder = open_folder(path, &name);
    if (folder < 0)
        return err_errno(errno, op, path);
    struct err *e = NULL;
    if (!replace(folder, name, data, len, mode))
        e = err_errno(errno, op, path);
    close(folder);
    return e;
}

static struct err *write_in_place(const char *op, const char *path, int flags,
                                  mode_t mode, const char *data, size_t len)
{
    int fd =
        open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC | flags, mode);
    if (fd < 0)
        return err_errno(errno, op, path);
    bool good = write_all(fd, data, len);
    int number = errno;
    if (close(fd) != 0 && good) {
        good = false;
        number = errno;
    }
    return good ? NULL : err_errno(number, op, path);
}

struct err *fs_write(const char *path, const char *data, size_t len, mode_t mode,
                     bool atomic)
{
    struct err *e = fs_gate("fs.write", path);
    if (e)
        return e;
    return atomic ? replace_path("fs.write", path, data, len, mode)
                  : write_in_place("fs.write", path, O_TRUNC, mode, data, len);
}

struct err *fs_append(const char *path, const char *data, size_t len)
{
    struct err *e = fs_gate("fs.append", path);
    return e ? e : write_in_place("fs.append", path, O_APPEND, 0600, data, len);
}

struct err *fs_copy(const char *from, const char *to)
{
    enum { COPY_LIMIT = 256 * 1024 * 1024 };
    struct stat st;
    struct err *e = fs_gate("fs.copy", to);
    if (e)
        return e;
    if (stat(from, &st) != 0)
        return err_errno(errno, "fs.copy", from);
    struct buf content;
    buf_init(&content);
    e = fs_read("fs.copy", from, COPY_LIMIT, &content);
    if (!e)
        e = replace_path("fs.copy", to, buf_text(&content), content.len,
                         st.st_mode & 0777);
    buf_fini(&content);
    return e;
}
