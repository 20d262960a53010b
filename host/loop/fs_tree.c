/* Folders: making and removing them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/fs.h"

char *fs_absolute(const char *path)
{
    struct buf out;
    buf_init(&out);
    char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    char *full = here ? mem_format("%s/%s", here, path) : mem_string(path);
    char *rest = full;
    for (char *step; (step = strsep(&rest, "/"));) {
        if (strcmp(step, "..") == 0) {
            const char *slash = out.len ? strrchr(out.data, '/') : NULL;
            out.len = slash ? (size_t)(slash - out.data) : 0;
            if (out.data)
                out.data[out.len] = '\0';
        } else if (*step && strcmp(step, ".") != 0) {
            buf_add_char(&out, '/');
            buf_add_text(&out, step);
        }
    }
    char *result = mem_string(out.len ? out.data : "/");
    buf_fini(&out);
    mem_free(full);
    free(here);
    return result;
}

/* Walks down with an open folder, so that a parent renamed meanwhile cannot lead it
 * astray. */
static bool make_all(const char *path)
{
    char *copy = mem_string(path), *rest = copy;
    int at = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (char *step; at >= 0 && (step = strsep(&rest, "/"));) {
        if (!*step)
            continue;
        int next = -1;
        if (mkdirat(at, step, 0700) == 0 || errno == EEXIST)
            next = openat(at, step, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int number = errno;
        close(at);
        errno = number;
        at = next;
    }
    int number = errno;
    mem_free(copy);
    if (at >= 0)
        close(at);
    errno = number;
    return at >= 0;
}

struct err *fs_mkdir(const char *path, bool parents)
{
    struct err *e = fs_gate("fs.mkdir", path);
    if (e)
        return e;
    bool good = parents ? make_all(path) : mkdir(path, 0700) == 0;
    return good ? NULL : err_errno(errno, "fs.mkdir", path);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct err *fs_list(const char *path, bool sorted, char ***names, size_t *count)
{
    DIR *dir = opendir(path);
    if (!dir)
        return err_errno(errno, "fs.list", path);
    char **list = NULL;
    size_t used = 0;
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        list = mem_resize(list, (used + 1) * sizeof *list);
        list[used++] = mem_string(entry->d_name);
    }
    closedir(dir);
    if (used && sorted)
        qsort(list, used, sizeof *list, compare_names);
    *names = list;
    *count = used;
    return NULL;
}

static bool remove_at(int folder, const char *name);

/* Takes over the descriptor. */
static bool remove_content(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700)
        (void)fchmod(fd, 0700);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return false;
    }
    bool good = true;
    int number = 0;
    for (const struct dirent *entry; good && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        good = remove_at(fd, entry->d_name);
        number = errno;
    }
    closedir(dir);
    errno = number;
    return good;
}

static bool remove_at(int folder, const char *name)
{
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return false;
    int number = errno;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOTDIR || errno == ELOOP)
            errno = number;
        return false;
    }
    return remove_content(fd) && unlinkat(folder, name, AT_REMOVEDIR) == 0;
}

static bool is_root(const char *path)
{
    char *real = realpath(path, NULL);
    bool root = real && strcmp(real, "/") == 0;
    free(real);
    return root;
}

struct err *fs_remove(const char *path, bool recursive)
{
    struct err *e = fs_gate("fs.remove", path);
    if (e)
        return e;
    struct stat st;
    if (lstat(path, &st) != 0)
        return err_errno(errno, "fs.remove", path);
    bool good;
    if (!S_ISDIR(st.st_mode)) {
        good = unlink(path) == 0;
    } else if (!recursive) {
        good = rmdir(path) == 0;
    } else if (is_root(path)) {
        errno = EPERM;
        good = false;
    } else {
        good = remove_at(AT_FDCWD, path);
    }
    return good ? NULL : err_errno(errno, "fs.remove", path);
}
