#pragma once
/* Growable bytes. `data` is NULL until something is added; after that there is
   always a NUL byte behind the last byte, which `len` does not count. */
#include <stddef.h>

struct buf {
    char *data;
    size_t len;
    size_t size;
};

void buf_init(struct buf *b);
void buf_fini(struct buf *b);
void buf_fini_wiped(struct buf *b); /* for bytes that were secret */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_add_text(struct buf *b, const char *text);
void buf_add_char(struct buf *b, char c);
void buf_add_format(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buf_drop(struct buf *b, size_t len);  /* removes from the front */
void buf_reset(struct buf *b);             /* empty, memory kept */
const char *buf_text(const struct buf *b); /* never NULL */
