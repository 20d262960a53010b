/* The streaming redactor. The text is read by several readings at once: as it stands,
   percent-decoded (with '+' as itself and as a space), backslash-decoded, and with
   newlines inside base64 dropped. Each reading walks the one automaton of all secrets. A
   decoded reading exists only from the first character it reads differently until nothing
   it has in hand stems from one; the rest of the time it would be where the plain reading
   is.

   Matches become spans of source positions, overlapping ones are merged, and what no
   unfinished match can still reach is written out. The result does not depend on how the
   text was cut. */
#include "redact.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "buf.h"
#include "mem.h"
#include "redact_forms.h"
#include "secret.h"
#include "trie.h"

enum { SLICE = 64 * 1024, ESCAPE_MAX = 12 };

enum reading { PERCENT, FORM, BACKSLASH, UNWRAP, READINGS };

struct span {
    uint64_t start, end;
    bool printed; /* its asterisks are written, the rest of it is still being read */
};

struct channel {
    bool active;
    bool indent; /* UNWRAP: behind a newline, blanks are dropped too */
    uint32_t state;
    uint64_t fork;  /* where it left the plain reading */
    uint64_t count; /* bytes read since then */
    uint64_t plain; /* of those, how many at the end stood so in the source */
    unsigned char escape[ESCAPE_MAX];
    size_t escaped; /* bytes of an escape that is not complete yet */
    uint64_t escape_start;
    uint64_t *starts; /* ring: where the last bytes read stand in the source */
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
    struct channel channels[READINGS];
    uint64_t ring_mask;
};

/* The patterns of the process: secrets are registered for its life. */
static struct trie patterns;

static void patterns_open(void)
{
    if (!patterns.nodes)
        trie_init(&patterns);
}

void redact_register(const char *data, size_t len)
{
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

/* Where the byte stands that the channel read `back` bytes ago (1: the last one). */
static uint64_t channel_start(const struct redactor *r, const struct channel *ch,
                              uint64_t back)
{
    if (back > ch->count)
        return ch->fork - (back - ch->count);
    return ch->starts[(ch->count - back) & r->ring_mask];
}

static void read_byte(struct redactor *r, struct channel *ch, unsigned char byte,
                      uint64_t start, uint64_t end, bool plain)
{
    ch->starts[ch->count & r->ring_mask] = start;
    ch->count++;
    ch->plain = plain ? ch->plain + 1 : 0;
    uint32_t next = trie_step(&patterns, ch->state, byte);
    const struct trie_node *node = &patterns.nodes[next];
    if (node->longest)
        add_span(r, channel_start(r, ch, node->longest), end);
    ch->state = node->resume;
}

static void read_plain(struct redactor *r, struct channel *ch, unsigned char byte,
                       uint64_t at)
{
    read_byte(r, ch, byte, at, at + 1, true);
}

static void read_escaped(struct redactor *r, struct channel *ch, unsigned char byte,
                         uint64_t at)
{
    read_byte(r, ch, byte, ch->escape_start, at + 1, false);
}

static void channel_feed(struct redactor *r, enum reading reading, unsigned char c,
                         uint64_t at);

static void escape_begin(struct channel *ch, unsigned char c, uint64_t at)
{
    ch->escape[0] = c;
    ch->escaped = 1;
    ch->escape_start = at;
}

/* It was no escape: its first character stands for itself, the rest is read anew. */
static void escape_spill(struct redactor *r, enum reading reading)
{
    struct channel *ch = &r->channels[reading];
    unsigned char bytes[ESCAPE_MAX];
    size_t len = ch->escaped;
    uint64_t at = ch->escape_start;
    memcpy(bytes, ch->escape, len);
    ch->escaped = 0;
    read_plain(r, ch, bytes[0], at);
    for (size_t i = 1; i < len; i++)
        channel_feed(r, reading, bytes[i], at + i);
}

static unsigned hex_number(const unsigned char *digits, size_t len)
{
    unsigned value = 0;
    for (size_t i = 0; i < len; i++) {
        int c = tolower(digits[i]);
        value = value << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

static void feed_percent(struct redactor *r, enum reading reading, unsigned char c,
                         uint64_t at)
{
    struct channel *ch = &r->channels[reading];
    if (ch->escaped && !isxdigit(c)) {
        escape_spill(r, reading);
        channel_feed(r, reading, c, at);
    } else if (ch->escaped) {
        ch->escape[ch->escaped++] = c;
        if (ch->escaped == 3) {
            ch->escaped = 0;
            read_escaped(r, ch, (unsigned char)hex_number(ch->escape + 1, 2), at);
        }
    } else if (c == '%') {
        escape_begin(ch, c, at);
    } else if (c == '+' && reading == FORM) {
        read_byte(r, ch, ' ', at, at + 1, false);
    } else {
        read_plain(r, ch, c, at);
    }
}

static void read_code_point(struct redactor *r, struct channel *ch, unsigned code,
                            uint64_t at)
{
    if (code < 0x80) {
        read_escaped(r, ch, (unsigned char)code, at);
        return;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char marks[] = {0, 0xc0, 0xe0, 0xf0};
    read_escaped(r, ch, (unsigned char)(marks[more] | code >> (6 * more)), at);
    while (more-- > 0)
        read_escaped(r, ch, (unsigned char)(0x80 | ((code >> (6 * more)) & 0x3f)), at);
}

/* One more character of "\n", "\x1b", "\u00e9" or a surrogate pair. False: it does not
 * belong. */
static bool escape_more(struct redactor *r, struct channel *ch, unsigned char c,
                        uint64_t at)
{
    static const char letters[] = "ntrbf/\"'\\", meanings[] = "\n\t\r\b\f/\"'\\";
    size_t n = ch->escaped;
    if (n == 1 || n == 7) {
        const char *letter = n == 1 && c ? strchr(letters, c) : NULL;
        if (letter) {
            ch->escaped = 0;
            read_escaped(r, ch, (unsigned char)meanings[letter - letters], at);
            return true;
        }
        if (c != 'u' && (c != 'x' || n == 7))
            return false;
    } else if (n == 6 ? c != '\\' : !isxdigit(c)) {
        return false;
    }
    ch->escape[ch->escaped++] = c;
    n++;
    if (ch->escape[1] == 'x' && n == 4) {
        ch->escaped = 0;
        read_escaped(r, ch, (unsigned char)hex_number(ch->escape + 2, 2), at);
    } else if (n == 6) {
        unsigned code = hex_number(ch->escape + 2, 4);
        if (code >> 10 != 0xd800 >> 10) {
            ch->escaped = 0;
            read_code_point(r, ch, code, at);
        }
    } else if (n == 12) {
        unsigned high = hex_number(ch->escape + 2, 4),
                 low = hex_number(ch->escape + 8, 4);
        ch->escaped = 0;
        read_code_point(r, ch, 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff), at);
    }
    return true;
}

static void feed_backslash(struct redactor *r, unsigned char c, uint64_t at)
{
    struct channel *ch = &r->channels[BACKSLASH];
    if (!ch->escaped && c == '\\') {
        escape_begin(ch, c, at);
    } else if (!ch->escaped) {
        read_plain(r, ch, c, at);
    } else if (!escape_more(r, ch, c, at)) {
        escape_spill(r, BACKSLASH);
        channel_feed(r, BACKSLASH, c, at);
    }
}

static void feed_unwrap(struct redactor *r, unsigned char c, uint64_t at)
{
    struct channel *ch = &r->channels[UNWRAP];
    bool newline = c == '\n' || c == '\r';
    if (newline || (ch->indent && (c == ' ' || c == '\t'))) {
        ch->indent = true;
        ch->plain = 0;
    } else {
        ch->indent = false;
        read_plain(r, ch, c, at);
    }
}

static void channel_feed(struct redactor *r, enum reading reading, unsigned char c,
                         uint64_t at)
{
    switch (reading) {
    case PERCENT:
    case FORM:
        feed_percent(r, reading, c, at);
        break;
    case BACKSLASH:
        feed_backslash(r, c, at);
        break;
    default:
        feed_unwrap(r, c, at);
        break;
    }
}

/* Does this reading part from the plain one here? */
static bool parts(const struct redactor *r, enum reading reading, unsigned char c)
{
    switch (reading) {
    case PERCENT:
        return c == '%';
    case FORM:
        return c == '%' || c == '+';
    case BACKSLASH:
        return c == '\\';
    default:
        return (c == '\n' || c == '\r') && patterns.nodes[r->state].wraps;
    }
}

static bool read_channels(struct redactor *r, unsigned char c)
{
    bool any = false;
    for (enum reading i = 0; i < READINGS; i++) {
        struct channel *ch = &r->channels[i];
        if (!ch->active) {
            if (!parts(r, i, c))
                continue;
            ch->active = true;
            ch->state = r->state;
            ch->fork = r->pos;
            ch->count = ch->plain = 0;
            ch->escaped = 0;
            ch->indent = false;
        }
        channel_feed(r, i, c, r->pos);
        ch->active = ch->escaped || patterns.nodes[ch->state].depth > ch->plain;
        any = any || ch->active;
    }
    return any;
}

static void scan(struct redactor *r, const char *bytes, size_t len)
{
    bool any = false;
    for (enum reading i = 0; i < READINGS; i++)
        any = any || r->channels[i].active;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (any || c == '%' || c == '+' || c == '\\' || c == '\n' || c == '\r')
            any = read_channels(r, c);
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
    for (enum reading i = 0; i < READINGS; i++) {
        const struct channel *ch = &r->channels[i];
        if (!ch->active)
            continue;
        uint32_t depth = patterns.nodes[ch->state].depth;
        uint64_t start = ch->escaped ? ch->escape_start : r->pos;
        if (depth)
            start = channel_start(r, ch, depth);
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
    uint64_t size = 1;
    while (size < patterns.max_depth)
        size *= 2;
    r->ring_mask = size - 1;
    for (enum reading i = 0; i < READINGS; i++) {
        struct channel *ch = &r->channels[i];
        ch->active = false;
        ch->starts = mem_resize(ch->starts, size * sizeof *ch->starts);
    }
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
    emit(r, r->pos);
    r->span_count = 0;
    r->state = 0;
    for (enum reading i = 0; i < READINGS; i++)
        r->channels[i].active = false;
}

void redactor_free(struct redactor *r)
{
    if (!r)
        return;
    for (enum reading i = 0; i < READINGS; i++)
        mem_free(r->channels[i].starts);
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
