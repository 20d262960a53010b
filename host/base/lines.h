#pragma once
/* Bytes of two streams in, lines out, in the order of their ends. A line is what stands
   before \n or \r\n; one longer than LINES_LONGEST comes in pieces. */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define LINES_LONGEST ((size_t)64 << 10)

struct line {
    struct line *next;
    int stream;
    bool cut; /* the next line of this stream goes on with it */
    size_t len;
    char bytes[];
};

struct lines {
    struct line *first;
    struct line *last;
    size_t queued; /* bytes, with what each line costs */
    struct buf partial[2];
};

void lines_init(struct lines *l);
void lines_fini(struct lines *l);
void lines_feed(struct lines *l, int stream, const char *bytes, size_t len);
void lines_end(struct lines *l, int stream); /* a last line without \n is a line */
struct line *lines_take(struct lines *l);    /* the caller's, mem_free; NULL: none yet */
