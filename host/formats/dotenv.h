#pragma once
/* NAME=value files: `export`, comments, also behind a value, single and double quotes
   that may span lines; in double quotes \n \r \t \" \\ \$ \` and a newline that a
   backslash hides. Nothing is expanded or run: ${NAME}, $(command) and `command` stand
   for themselves, and a value in which a shell would have expanded them says so. Messages
   never quote a value. */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct dotenv_entry {
    const char *name, *value; /* both only there during the call */
    size_t len;               /* of the value */
    unsigned line;
    bool expands; /* a shell would have put something else in its place */
};

typedef void (*dotenv_each)(void *data, const struct dotenv_entry *entry);

/* NULL, or dotenv.syntax with the fields `source` and `line`. */
struct err *dotenv_parse(const char *text, size_t len, const char *source,
                         dotenv_each each, void *data);
