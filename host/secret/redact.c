/* The streaming redactor. The text is read as it stands and, where it differs, decoded in
   several ways (reading.h); each reading walks the one automaton of all secrets. Matches
   become spans of source positions, overlapping ones are merged, and what no unfinished
   match can still reach is written out. The result does not depend on how the text was
   cut. */
#include "secret/redact.h"

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "secret/reading.h"
#include "secret/redact_forms.h"
#include "secret/trie.h"

enum { SLICE = 64 * 1024 };

struct span {
    uint64_t start, end;
    bool printed; /* its asterisks are written, the rest of it is still being read */
};

struct redactor {
    redactor_write write;
    void *data;
    unsigned generation; /* of the patterns it has adopted; 0: none yet */
    uint32_t state;      /* of the plain reading */
    uint64_t pos;        /* of the next byte to read */
    struct buf held;     /* what stands before pos and is not written */
    struct span *spans;
    size_t span_count, span_capacity;
    struct reading readings[READING_KINDS];
    unsigned active; /* of them, as bits */
};

_Static_assert(READING_KINDS <= 8, "a set of readings is a byte");

/* The patterns of the process: secrets are registered for its life. */
static struct trie patterns;
static unsigned char parting[256]; /* reading_parting */

static void patterns_open(void)
{
    if (patterns.nodes)
        return;
    trie_init(&patterns);
    for (unsigned c = 0; c < 256; c++)
        parting[c] = (unsigned char)reading_parting((unsigned char)c);
}

/* The words that are no secrets. */
static struct buf *publics;
static size_t public_count;

static bool is_public(const char *data, size_t len)
{
    for (size_t i = 0; i < public_count; i++)
        if (publics[i].len == len && memcmp(buf_text(&publics[i]), data, len) == 0)
            return true;
    return false;
}

void redact_public(const char *word, size_t len)
{
    if (is_public(word, len))
        return;
    publics = mem_resize(publics, (public_count + 1) * sizeof *publics);
    buf_init(&publics[public_count]);
    buf_add(&publics[public_count++], word, len);
}

void redact_register(const char *data, size_t len)
{
    if (is_public(data, len))
        return;
    patterns_open();
    redact_forms_add(&patterns, data, len);
}

static void add_span(struct redactor *r, uint64_t start, uint64_t end)
{
    struct span span = {start, end, false};
    size_t first = r->span_count;
    while (first > 0 && r->spans[first - 1].end > start)
        first--;
    size_t last = first;
    for (; last < r->span_count && r->spans[last].start < end; last++) {
        const struct span *other = &r->spans[last];
        if (other->start < span.start)
            span.start = other->start;
        if (other->end > span.end)
            span.end = other->end;
        span.printed = span.printed || other->printed;
    }
    if (first == last) {
        if (r->span_count == r->span_capacity) {
            r->span_capacity = r->span_capacity ? 2 * r->span_capacity : 16;
            r->spans = mem_resize(r->spans, r->span_capacity * sizeof *r->spans);
        }
        last++;
        memmove(r->spans + last, r->spans + first, (r->span_count - first) * sizeof span);
        r->span_count++;
    } else {
        memmove(r->spans + first + 1, r->spans + last,
                (r->span_count - last) * sizeof span);
        r->span_count -= last - first - 1;
    }
    r->spans[first] = span;
}

static void on_match(void *data, uint64_t start, uint64_t end)
{
    add_span(data, start, end);
}

/* Lets the readings that are active, or part here, read the byte. In the order of their
   kinds: see reading.h. */
static void read_decoded(struct redactor *r, unsigned char c, unsigned wanted)
{
    for (size_t i = 0; i < READING_KINDS; i++)
        if (wanted & 1U << i)
            reading_feed(&r->readings[i], r->state, c, r->pos);
    r->active = 0;
    for (size_t i = 0; i < READING_KINDS; i++)
        r->active |= (unsigned)r->readings[i].active << i;
}

static void scan(struct redactor *r, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        unsigned wanted = r->active | parting[c];
        if (wanted)
            read_decoded(r, c, wanted);
        uint32_t next = trie_step(&patterns, r->state, c);
        r->pos++;
        if (!next) {
            r->state = 0;
            continue;
        }
        const struct trie_node *node = &patterns.nodes[next];
        if (node->longest)
            add_span(r, r->pos - node->longest, r->pos);
        r->state = node->resume;
    }
}

/* No match that is still to come begins before this position. */
static uint64_t settled(const struct redactor *r)
{
    uint64_t limit = r->pos - patterns.nodes[r->state].depth;
    for (size_t i = 0; i < READING_KINDS; i++) {
        if (!r->readings[i].active)
            continue;
        uint64_t start = reading_pending(&r->readings[i], r->pos);
        if (start < limit)
            limit = start;
    }
    return limit;
}

/* Writes what stands before `limit`, each span as one mask. */
static void emit(struct redactor *r, uint64_t limit)
{
    uint64_t base = r->pos - r->held.len, cursor = base;
    size_t done = 0;
    for (; done < r->span_count && r->spans[done].start < limit; done++) {
        struct span *span = &r->spans[done];
        if (span->start > cursor)
            r->write(r->data, r->held.data + (cursor - base), span->start - cursor);
        if (!span->printed)
            r->write(r->data, "***", 3);
        span->printed = true;
        cursor = span->end < limit ? span->end : limit;
        if (span->end > limit)
            break;
    }
    if (cursor < limit)
        r->write(r->data, r->held.data + (cursor - base), limit - cursor);
    r->span_count -= done;
    if (r->span_count)
        memmove(r->spans, r->spans + done, r->span_count * sizeof *r->spans);
    buf_drop(&r->held, limit - base);
}

/* New patterns came: what is held may begin one of them, so it is read again. */
static void adopt_patterns(struct redactor *r)
{
    trie_link(&patterns);
    if (r->generation == patterns.linked)
        return;
    r->generation = patterns.linked;
    for (size_t i = 0; i < READING_KINDS; i++)
        reading_reset(&r->readings[i]);
    r->active = 0;
    r->state = 0;
    r->pos -= r->held.len;
    scan(r, buf_text(&r->held), r->held.len);
}

struct redactor *redactor_new(redactor_write write, void *data)
{
    patterns_open();
    struct redactor *r = mem_alloc(sizeof *r);
    r->write = write;
    r->data = data;
    for (size_t i = 0; i < READING_KINDS; i++)
        r->readings[i] = (struct reading){.kind = (enum reading_kind)i,
                                          .patterns = &patterns,
                                          .match = on_match,
                                          .data = r};
    for (size_t i = 0; i <= READING_BACKSLASH_TWICE; i++)
        r->readings[READING_PERCENT + i].twice = &r->readings[i];
    buf_init(&r->held);
    return r;
}

void redactor_feed(struct redactor *r, const char *bytes, size_t len)
{
    adopt_patterns(r);
    while (len) {
        size_t part = len < SLICE ? len : SLICE;
        buf_add(&r->held, bytes, part);
        scan(r, bytes, part);
        emit(r, settled(r));
        bytes += part;
        len -= part;
    }
}

void redactor_flush(struct redactor *r)
{
    for (size_t i = 0; i < READING_KINDS; i++)
        reading_finish(&r->readings[i]);
    emit(r, r->pos);
    r->span_count = 0;
    r->state = 0;
    r->active = 0;
}

void redactor_free(struct redactor *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < READING_KINDS; i++)
        reading_fini(&r->readings[i]);
    buf_fini_wiped(&r->held);
    mem_free(r->spans);
    mem_free(r);
}

static void on_redacted(void *data, const char *bytes, size_t len)
{
    buf_add(data, bytes, len);
}

void secret_redact(const char *bytes, size_t len, struct buf *out)
{
    struct redactor *r = redactor_new(on_redacted, out);
    redactor_feed(r, bytes, len);
    redactor_flush(r);
    redactor_free(r);
}
