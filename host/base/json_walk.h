#pragma once
/* JSON walked through where it lies, for texts that hold secrets: nothing of it is copied
   but what is asked for, into buffers that the caller wipes. First json_check the whole
   text; the other functions then rely on it. */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct json_reader {
    const char *p, *end;
    unsigned depth;
    const char *mistake; /* the first one ends the reading */
};

/* NULL when the text is one JSON value; else what is wrong, and where. */
const char *json_check(const char *text, size_t len, size_t *at);

struct json_reader json_reader(const char *text, size_t len);
char json_peek(struct json_reader *r); /* the next character that counts; NUL: the end */
bool json_skip(struct json_reader *r); /* behind the value */

/* Behind the value; true and its text when it is a string, a number, true or false. */
bool json_scalar(struct json_reader *r, struct buf *out);

/* Through an object or a list: after json_walk_next the reader stands before a value,
   which must be skipped or read, and `name` is that of the member. */
struct json_walk {
    char close; /* '}' or ']' */
    struct buf name;
    bool begun;
};

void json_walk_init(struct json_walk *w, struct json_reader *r);
bool json_walk_next(struct json_walk *w, struct json_reader *r);
void json_walk_fini(struct json_walk *w);
