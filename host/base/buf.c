#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void buf_init(struct buf *b) { *b = (struct buf){0}; }

void buf_fini(struct buf *b)
{
    mem_free(b->data);
    buf_init(b);
}

void buf_fini_wiped(struct buf *b)
{
    mem_wipe(b->data, b->size);
    buf_fini(b);
}

/* A fresh block instead of realloc, so that a growing secret leaves no copy behind. */
static void grow(struct buf *b, size_t extra)
{
    size_t needed = b->len + extra + 1;
    if (needed <= b->size)
        return;
    size_t size = b->size ? b->size : 64;
    while (size < needed)
        size *= 2;
    char *data = mem_alloc(size);
    if (b->len)
        memcpy(data, b->data, b->len);
    mem_wipe(b->data, b->size);
    mem_free(b->data);
    b->data = data;
    b->size = size;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    grow(b, len);
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_add_text(struct buf *b, const char *text) { buf_add(b, text, strlen(text)); }

void buf_add_char(struct buf *b, char c) { buf_add(b, &c, 1); }

void buf_add_format(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        return;
    buf_add(b, text, (size_t)len);
    mem_free(text);
}

void buf_drop(struct buf *b, size_t len)
{
    if (len >= b->len) {
        buf_reset(b);
        return;
    }
    b->len -= len;
    memmove(b->data, b->data + len, b->len + 1);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    if (b->data)
        b->data[0] = '\0';
}

const char *buf_text(const struct buf *b) { return b->data ? b->data : ""; }
