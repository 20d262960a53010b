#include "secret/reading.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"

/* Where the byte stands that was read `back` bytes ago (1: the last one). */
static uint64_t start_of(const struct reading *r, uint64_t back)
{
    if (back > r->count)
        return r->fork - (back - r->count);
    return r->starts[(r->count - back) & r->ring_mask];
}

static void read_byte(struct reading *r, unsigned char byte, uint64_t start, uint64_t end,
                      bool plain)
{
    r->starts[r->count & r->ring_mask] = start;
    r->count++;
    r->plain = plain ? r->plain + 1 : 0;
    uint32_t next = trie_step(r->patterns, r->state, byte);
    const struct trie_node *node = &r->patterns->nodes[next];
    if (node->longest)
        r->match(r->data, start_of(r, node->longest), end);
    r->state = node->resume;
}

static void read_plain(struct reading *r, unsigned char byte, uint64_t at)
{
    read_byte(r, byte, at, at + 1, true);
}

static void read_escaped(struct reading *r, unsigned char byte, uint64_t at)
{
    read_byte(r, byte, r->escape_start, at + 1, false);
}

static void feed(struct reading *r, unsigned char c, uint64_t at);

static void escape_begin(struct reading *r, unsigned char c, uint64_t at)
{
    r->escape[0] = c;
    r->escaped = 1;
    r->escape_start = at;
}

/* It was no escape: its first character stands for itself, the rest is read anew. */
static void escape_spill(struct reading *r)
{
    unsigned char bytes[READING_ESCAPE_MAX];
    size_t len = r->escaped;
    uint64_t at = r->escape_start;
    memcpy(bytes, r->escape, len);
    r->escaped = 0;
    read_plain(r, bytes[0], at);
    for (size_t i = 1; i < len; i++)
        feed(r, bytes[i], at + i);
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

static void feed_percent(struct reading *r, unsigned char c, uint64_t at)
{
    if (r->escaped && !isxdigit(c)) {
        escape_spill(r);
        feed(r, c, at);
    } else if (r->escaped) {
        r->escape[r->escaped++] = c;
        if (r->escaped == 3) {
            r->escaped = 0;
            read_escaped(r, (unsigned char)hex_number(r->escape + 1, 2), at);
        }
    } else if (c == '%') {
        escape_begin(r, c, at);
    } else if (c == '+' && r->kind == READING_FORM) {
        read_byte(r, ' ', at, at + 1, false);
    } else {
        read_plain(r, c, at);
    }
}

static void read_code_point(struct reading *r, unsigned code, uint64_t at)
{
    if (code < 0x80) {
        read_escaped(r, (unsigned char)code, at);
        return;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char marks[] = {0, 0xc0, 0xe0, 0xf0};
    read_escaped(r, (unsigned char)(marks[more] | code >> (6 * more)), at);
    while (more-- > 0)
        read_escaped(r, (unsigned char)(0x80 | ((code >> (6 * more)) & 0x3f)), at);
}

/* One more character of "\n", "\x1b", "\u00e9" or a surrogate pair. False: it does not
 * belong. */
static bool escape_more(struct reading *r, unsigned char c, uint64_t at)
{
    static const char letters[] = "ntrbf/\"'\\", meanings[] = "\n\t\r\b\f/\"'\\";
    size_t n = r->escaped;
    if (n == 1 || n == 7) {
        const char *letter = n == 1 && c ? strchr(letters, c) : NULL;
        if (letter) {
            r->escaped = 0;
            read_escaped(r, (unsigned char)meanings[letter - letters], at);
            return true;
        }
        if (c != 'u' && (c != 'x' || n == 7))
            return false;
    } else if (n == 6 ? c != '\\' : !isxdigit(c)) {
        return false;
    }
    r->escape[r->escaped++] = c;
    n++;
    if (r->escape[1] == 'x' && n == 4) {
        r->escaped = 0;
        read_escaped(r, (unsigned char)hex_number(r->escape + 2, 2), at);
    } else if (n == 6) {
        unsigned code = hex_number(r->escape + 2, 4);
        if (code >> 10 != 0xd800 >> 10) {
            r->escaped = 0;
            read_code_point(r, code, at);
        }
    } else if (n == 12) {
        unsigned high = hex_number(r->escape + 2, 4), low = hex_number(r->escape + 8, 4);
        r->escaped = 0;
        read_code_point(r, 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff), at);
    }
    return true;
}

static void feed_backslash(struct reading *r, unsigned char c, uint64_t at)
{
    if (!r->escaped && c == '\\') {
        escape_begin(r, c, at);
    } else if (!r->escaped) {
        read_plain(r, c, at);
    } else if (!escape_more(r, c, at)) {
        escape_spill(r);
        feed(r, c, at);
    }
}

static void feed_unwrap(struct reading *r, unsigned char c, uint64_t at)
{
    bool newline = c == '\n' || c == '\r';
    if (newline || (r->indent && (c == ' ' || c == '\t'))) {
        r->indent = true;
        r->plain = 0;
    } else {
        r->indent = false;
        read_plain(r, c, at);
    }
}

static void feed(struct reading *r, unsigned char c, uint64_t at)
{
    switch (r->kind) {
    case READING_PERCENT:
    case READING_FORM:
        feed_percent(r, c, at);
        break;
    case READING_BACKSLASH:
        feed_backslash(r, c, at);
        break;
    default:
        feed_unwrap(r, c, at);
        break;
    }
}

/* Does this reading part from the plain one here? */
static bool parts(const struct reading *r, uint32_t plain_state, unsigned char c)
{
    switch (r->kind) {
    case READING_PERCENT:
        return c == '%';
    case READING_FORM:
        return c == '%' || c == '+';
    case READING_BACKSLASH:
        return c == '\\';
    default:
        return (c == '\n' || c == '\r') && r->patterns->nodes[plain_state].wraps;
    }
}

bool reading_feed(struct reading *r, uint32_t plain_state, unsigned char c, uint64_t at)
{
    if (!r->active) {
        if (!parts(r, plain_state, c))
            return false;
        r->state = plain_state;
        r->fork = at;
        r->count = r->plain = 0;
        r->escaped = 0;
        r->indent = false;
    }
    feed(r, c, at);
    r->active = r->escaped || r->patterns->nodes[r->state].depth > r->plain;
    return r->active;
}

uint64_t reading_pending(const struct reading *r, uint64_t pos)
{
    uint32_t depth = r->patterns->nodes[r->state].depth;
    if (depth)
        return start_of(r, depth);
    return r->escaped ? r->escape_start : pos;
}

void reading_reset(struct reading *r)
{
    uint64_t size = 1;
    while (size < r->patterns->max_depth)
        size *= 2;
    r->starts = mem_resize(r->starts, size * sizeof *r->starts);
    r->ring_mask = size - 1;
    r->active = false;
}

void reading_fini(struct reading *r) { mem_free(r->starts); }
