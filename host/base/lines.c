/* Each stream has a buffer for the line that is not complete yet. Complete lines of both
   streams stand in one queue, in the order of their ends. A line is cut at LINES_LONGEST,
   so a program that never writes a newline fills no more than that.

   `queued` includes the struct of each line. A reader that stops at a number of bytes
   (proc_child.c) is thereby safe from a program that writes nothing but empty lines. */
#include "base/lines.h"

#include <string.h>

#include "base/mem.h"

void lines_init(struct lines *l)
{
    *l = (struct lines){0};
    buf_init(&l->partial[0]);
    buf_init(&l->partial[1]);
}

void lines_fini(struct lines *l)
{
    for (struct line *line = lines_take(l); line; line = lines_take(l))
        mem_free(line);
    buf_fini_wiped(&l->partial[0]);
    buf_fini_wiped(&l->partial[1]);
}

/* Ends the line that `partial` holds. */
static void put(struct lines *l, int stream, bool cut)
{
    struct buf *b = &l->partial[stream];
    size_t len = b->len;
    if (!cut && len > 0 && b->data[len - 1] == '\r')
        len--;
    struct line *line = mem_alloc(sizeof *line + len + 1);
    line->stream = stream;
    line->cut = cut;
    line->len = len;
    if (len > 0)
        memcpy(line->bytes, b->data, len);
    buf_reset(b);
    if (l->last)
        l->last->next = line;
    else
        l->first = line;
    l->last = line;
    l->queued += sizeof *line + len;
}

void lines_feed(struct lines *l, int stream, const char *bytes, size_t len)
{
    while (len > 0) {
        const char *newline = memchr(bytes, '\n', len);
        size_t part = newline ? (size_t)(newline - bytes) : len;
        size_t room = LINES_LONGEST - l->partial[stream].len;
        bool cut = part > room;
        if (cut)
            part = room;
        buf_add(&l->partial[stream], bytes, part);
        bytes += part;
        len -= part;
        if (cut) {
            put(l, stream, true);
        } else if (newline) {
            put(l, stream, false);
            bytes++;
            len--;
        }
    }
}

void lines_end(struct lines *l, int stream)
{
    if (l->partial[stream].len > 0)
        put(l, stream, false);
}

struct line *lines_take(struct lines *l)
{
    struct line *line = l->first;
    if (!line)
        return NULL;
    l->first = line->next;
    if (!l->first)
        l->last = NULL;
    l->queued -= sizeof *line + line->len;
    return line;
}
