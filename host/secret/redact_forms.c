/* The patterns of a value: the value, each line of it, the passwords of the URLs in it,
   and the parts of a Fly token. Each pattern is also added as base64 and as hexadecimal
   digits. What stands before a secret in base64 shifts it by 0, 1 or 2 bytes, and there
   are two alphabets, which makes six forms; only characters whose bits all belong to the
   secret are in a form. In all, a pattern takes at most about thirteen nodes of the trie
   for each byte. */
#include "secret/redact_forms.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/percent.h"

static const char *const alphabets[] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

/* The characters that are the same whatever surrounds the secret in the encoded text:
   those whose six bits all lie within it, when `before` bytes precede it in its group. */
static void add_base64(struct trie *t, const char *data, size_t len, size_t before,
                       const char *alphabet)
{
    struct buf text;
    buf_init(&text);
    size_t begin = 8 * before, end = begin + 8 * len;
    for (size_t bit = (begin + 5) / 6 * 6; bit + 6 <= end; bit += 6) {
        unsigned value = 0;
        for (size_t i = bit - begin; i < bit - begin + 6; i++)
            value = value << 1 | (((unsigned char)data[i / 8] >> (7 - i % 8)) & 1);
        buf_add_char(&text, alphabet[value]);
    }
    trie_add(t, buf_text(&text), text.len, true);
    buf_fini_wiped(&text);
}

static void add_hex(struct trie *t, const char *data, size_t len, const char *digits)
{
    struct buf text;
    buf_init(&text);
    for (size_t i = 0; i < len; i++) {
        buf_add_char(&text, digits[(unsigned char)data[i] >> 4]);
        buf_add_char(&text, digits[(unsigned char)data[i] & 15]);
    }
    trie_add(t, buf_text(&text), text.len, true);
    buf_fini_wiped(&text);
}

static void add_needle(struct trie *t, const char *data, size_t len)
{
    if (len < REDACT_MIN)
        return;
    trie_add(t, data, len, false);
    for (size_t before = 0; before < 3; before++)
        for (size_t i = 0; i < 2; i++)
            add_base64(t, data, len, before, alphabets[i]);
    add_hex(t, data, len, "0123456789abcdef");
    add_hex(t, data, len, "0123456789ABCDEF");
}

static void add_lines(struct trie *t, const char *data, size_t len)
{
    const char *end = data + len;
    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        const char *from = data, *to = newline ? newline : end;
        while (from < to && isspace((unsigned char)*from))
            from++;
        while (to > from && isspace((unsigned char)to[-1]))
            to--;
        add_needle(t, from, (size_t)(to - from));
        data = newline ? newline + 1 : end;
    }
}

static void add_decoded(struct trie *t, const char *data, size_t len)
{
    struct buf text;
    buf_init(&text);
    percent_decode(&text, data, len, false);
    add_needle(t, buf_text(&text), text.len);
    buf_fini_wiped(&text);
}

static void add_password(struct trie *t, const char *from, const char *to)
{
    add_needle(t, from, (size_t)(to - from));
    add_decoded(t, from, (size_t)(to - from));
}

static const char *find_any(const char *from, const char *end, const char *set)
{
    while (from < end && (!*from || !strchr(set, *from)))
        from++;
    return from;
}

static const char *find_last(const char *from, const char *end, char c)
{
    return end > from ? memrchr(from, c, (size_t)(end - from)) : NULL;
}

/* "user:password@host/…" behind "://". Readers disagree where a password with a bare '/'
   or '@' ends, so both readings are masked. */
static void add_userinfo(struct trie *t, const char *rest, const char *end)
{
    const char *colon = find_any(rest, end, ":/?#@");
    if (colon == end || *colon != ':')
        return;
    const char *at = find_last(colon, find_any(rest, end, "/?#"), '@');
    if (at)
        add_password(t, colon + 1, at);
    at = find_any(colon, end, "@");
    if (at < end)
        add_password(t, colon + 1, at);
}

static void add_parameter(struct trie *t, const char *rest, const char *end)
{
    static const char key[] = "password=";
    const size_t len = sizeof key - 1;
    for (const char *p = rest; p && p < end;) {
        p = memmem(p, (size_t)(end - p), key, len);
        if (!p)
            return;
        p += len;
        add_password(t, p, find_any(p, end, "&#"));
    }
}

static void add_urls(struct trie *t, const char *data, size_t len)
{
    const char *end = data + len;
    for (const char *p = data; p < end;) {
        const char *mark = memmem(p, (size_t)(end - p), "://", 3);
        if (!mark)
            return;
        const char *rest = mark + 3;
        const char *stop = find_any(rest, end, " \t\r\n\"'");
        add_userinfo(t, rest, stop);
        add_parameter(t, rest, stop);
        p = rest;
    }
}

/* "FlyV1 fm2_…,fm2_…": what stands behind the scheme, and each part, for themselves. */
static void add_credentials(struct trie *t, const char *data, size_t len)
{
    static const char *const beginnings[] = {"FlyV1 ", "Bearer ", "fm1r_", "fm1a_",
                                             "fm2_"};
    const char *end = data + len, *from = NULL;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        size_t n = strlen(beginnings[i]);
        if (len > n && memcmp(data, beginnings[i], n) == 0)
            from = beginnings[i][n - 1] == ' ' ? data + n : data;
    }
    if (!from)
        return;
    add_needle(t, from, (size_t)(end - from));
    while (from < end) {
        const char *to = find_any(from, end, ", \t\r\n");
        add_needle(t, from, (size_t)(to - from));
        from = to < end ? to + 1 : end;
    }
}

void redact_forms_add(struct trie *t, const char *data, size_t len)
{
    add_needle(t, data, len);
    add_lines(t, data, len);
    add_urls(t, data, len);
    add_credentials(t, data, len);
}
