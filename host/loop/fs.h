#pragma once
/* Small files, at once. Each returns NULL, or an error with a code of fs.*; `op` names
   the call in it. What writes obeys the gate of plan mode. Descriptors are never
   inherited by children. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Appends the content to `out`; more than `limit` bytes is fs.too_large. */
struct err *fs_read(const char *op, const char *path, size_t limit, struct buf *out);

/* Atomic: readers see the old content or the new one, also after a crash. A link at
   `path` is replaced, not followed; without `atomic` it is refused. */
struct err *fs_write(const char *path, const char *data, size_t len, mode_t mode,
                     bool atomic);
struct err *fs_append(const char *path, const char *data, size_t len);
struct err *fs_copy(const char *from, const char *to);

/* With parents: those that are missing too, and it may exist already. */
struct err *fs_mkdir(const char *path, bool parents);

/* Never follows a link. */
struct err *fs_remove(const char *path, bool recursive);

/* The names in a folder, sorted by bytes; the caller frees each, and the list. */
struct err *fs_list(const char *path, bool sorted, char ***names, size_t *count);

/* The path from the root, "." and ".." taken out by name; links are left alone. */
char *fs_absolute(const char *path);

/* NULL when the gate lets a write to `path` pass. */
struct err *fs_gate(const char *op, const char *path);
