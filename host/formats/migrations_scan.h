#pragma once
/* Reads an Alembic revision file without running Python: the module-level assignments of
   revision, down_revision, branch_labels and depends_on, and the docstring's first
   line. */
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

struct strings {
    char **items;
    unsigned count;
};

struct revision {
    char *id;      /* NULL: the file declares no revision */
    char *message; /* NULL when there is no docstring */
    struct strings down, labels, depends_on;
    unsigned line; /* of `revision = …` */
};

/* `source` names the file in messages. NULL, or what could not be read. */
struct err *revision_scan(struct revision *r, const char *text, size_t len,
                          const char *source);
void revision_fini(struct revision *r);
