/* A recursive descent over JSON (RFC 8259), in two passes. json_check reads the whole
   text and is the only pass that reports mistakes. The walks that follow rely on it: they
   pass over commas, colons and quotes without looking at them.

   DEPTH_LIMIT bounds the recursion. A string is decoded even where it is skipped, since
   only that finds a bad escape; the buffer is wiped, because the string may be a secret.
   Bytes from 0x80 on are taken as they are: the reader does not check UTF-8. */
#include "base/json_walk.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum { DEPTH_LIMIT = 64 };

struct json_reader json_reader(const char *text, size_t len)
{
    struct json_reader r = {.p = text, .end = text + len};
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        r.p += 3;
    return r;
}

static bool fail(struct json_reader *r, const char *mistake)
{
    if (!r->mistake)
        r->mistake = mistake;
    return false;
}

static void skip_space(struct json_reader *r)
{
    while (r->p < r->end && strchr(" \t\r\n", *r->p) && *r->p)
        r->p++;
}

char json_peek(struct json_reader *r)
{
    skip_space(r);
    if (r->p == r->end)
        return '\0';
    return *r->p;
}

static bool take(struct json_reader *r, char c)
{
    if (json_peek(r) != c)
        return false;
    r->p++;
    return true;
}

static int hex_digit(char c)
{
    if (isdigit((unsigned char)c))
        return c - '0';
    return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* The four digits of \uXXXX. */
static bool read_unit(struct json_reader *r, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = r->p < r->end ? hex_digit(*r->p) : -1;
        if (digit < 0)
            return fail(r, "'\\u' needs four hexadecimal digits");
        *unit = *unit << 4 | (uint32_t)digit;
        r->p++;
    }
    return true;
}

static void add_utf8(struct buf *out, uint32_t point)
{
    unsigned tail = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const unsigned char heads[] = {0, 0xc0, 0xe0, 0xf0};
    buf_add_char(out, (char)(heads[tail] | point >> 6 * tail));
    while (tail-- > 0)
        buf_add_char(out, (char)(0x80 | (point >> 6 * tail & 0x3f)));
}

static bool read_point(struct json_reader *r, struct buf *out)
{
    uint32_t point, low;
    if (!read_unit(r, &point))
        return false;
    if (point >= 0xd800 && point < 0xdc00) {
        if (r->end - r->p < 2 || r->p[0] != '\\' || r->p[1] != 'u')
            return fail(r, "half of a surrogate pair");
        r->p += 2;
        if (!read_unit(r, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(r, "half of a surrogate pair");
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    } else if (point >= 0xdc00 && point < 0xe000) {
        return fail(r, "half of a surrogate pair");
    }
    add_utf8(out, point);
    return true;
}

/* Behind the opening quote, to behind the closing one. */
static bool read_string(struct json_reader *r, struct buf *out)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    while (r->p < r->end && *r->p != '"') {
        char c = *r->p++;
        if ((unsigned char)c < ' ')
            return fail(r, "a control character in a string");
        if (c != '\\') {
            buf_add_char(out, c);
            continue;
        }
        char escape = '\0';
        if (r->p < r->end)
            escape = *r->p++;
        const char *letter = escape ? strchr(letters, escape) : NULL;
        if (letter)
            buf_add_char(out, meanings[letter - letters]);
        else if (escape != 'u')
            return fail(r, "an unknown escape in a string");
        else if (!read_point(r, out))
            return false;
    }
    if (r->p == r->end)
        return fail(r, "a string is not terminated");
    r->p++;
    return true;
}

static bool skip_digits(struct json_reader *r)
{
    const char *from = r->p;
    while (r->p < r->end && isdigit((unsigned char)*r->p))
        r->p++;
    return r->p > from;
}

static bool at(const struct json_reader *r, const char *set)
{
    return r->p < r->end && *r->p && strchr(set, *r->p);
}

static bool skip_number(struct json_reader *r)
{
    if (at(r, "-"))
        r->p++;
    bool good = true;
    if (at(r, "0"))
        r->p++;
    else
        good = skip_digits(r);
    if (good && at(r, ".")) {
        r->p++;
        good = skip_digits(r);
    }
    if (good && at(r, "eE")) {
        r->p++;
        if (at(r, "+-"))
            r->p++;
        good = skip_digits(r);
    }
    return good || fail(r, "an invalid number");
}

static bool skip_word(struct json_reader *r)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(words[i]);
        if ((size_t)(r->end - r->p) >= len && memcmp(r->p, words[i], len) == 0) {
            r->p += len;
            return true;
        }
    }
    return fail(r, r->p == r->end ? "unexpected end" : "a value is missing");
}

static bool skip_string(struct json_reader *r)
{
    struct buf text;
    buf_init(&text);
    bool good = take(r, '"') ? read_string(r, &text) : fail(r, "a name is missing");
    buf_fini_wiped(&text);
    return good;
}

static bool skip_members(struct json_reader *r, char close)
{
    r->p++;
    if (take(r, close))
        return true;
    do {
        if (close == '}' && !(skip_string(r) && (take(r, ':') || fail(r, "no ':'"))))
            return false;
        if (!json_skip(r))
            return false;
    } while (take(r, ','));
    return take(r, close) || fail(r, "a ',' or a closing bracket is missing");
}

bool json_skip(struct json_reader *r)
{
    char c = json_peek(r);
    bool good;
    if (c == '{' || c == '[') {
        if (++r->depth > DEPTH_LIMIT)
            return fail(r, "it is nested too deeply");
        good = skip_members(r, c == '{' ? '}' : ']');
        r->depth--;
    } else if (c == '"') {
        good = skip_string(r);
    } else if (c == '-' || isdigit((unsigned char)c)) {
        good = skip_number(r);
    } else {
        good = skip_word(r);
    }
    return good;
}

void json_walk_init(struct json_walk *w, struct json_reader *r)
{
    w->close = json_peek(r) == '{' ? '}' : ']';
    w->begun = false;
    buf_init(&w->name);
    r->p++;
}

bool json_walk_next(struct json_walk *w, struct json_reader *r)
{
    if (w->begun)
        take(r, ',');
    w->begun = true;
    if (take(r, w->close))
        return false;
    buf_reset(&w->name);
    if (w->close == '}') {
        take(r, '"');
        read_string(r, &w->name);
        take(r, ':');
    }
    skip_space(r);
    return true;
}

void json_walk_fini(struct json_walk *w) { buf_fini_wiped(&w->name); }

bool json_scalar(struct json_reader *r, struct buf *out)
{
    char c = json_peek(r);
    if (c == '"') {
        r->p++;
        return read_string(r, out);
    }
    const char *from = r->p;
    json_skip(r);
    if (c == '{' || c == '[' || c == 'n')
        return false;
    buf_add(out, from, (size_t)(r->p - from));
    return true;
}

const char *json_check(const char *text, size_t len, size_t *at)
{
    struct json_reader r = json_reader(text, len);
    if (json_skip(&r) && (skip_space(&r), r.p < r.end))
        fail(&r, "trailing text after the value");
    *at = (size_t)(r.p - text);
    return r.mistake;
}
