#include "base/json_text.h"

#include <string.h>

static void add_escaped(struct buf *out, unsigned char c)
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = c ? strchr(plain, c) : NULL;
    if (!found) {
        buf_add_format(out, "\\u%04x", c);
        return;
    }
    buf_add_char(out, '\\');
    buf_add_char(out, letters[found - plain]);
}

static size_t plain_length(const char *bytes, size_t len)
{
    size_t n = 0;
    while (n < len && (unsigned char)bytes[n] >= ' ' && bytes[n] != '"' &&
           bytes[n] != '\\' && bytes[n] != 0x7f)
        n++;
    return n;
}

void json_add_string(struct buf *out, const char *bytes, size_t len)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < len; i++) {
        size_t plain = plain_length(bytes + i, len - i);
        if (plain > 0)
            buf_add(out, bytes + i, plain);
        i += plain;
        if (i < len)
            add_escaped(out, (unsigned char)bytes[i]);
    }
    buf_add_char(out, '"');
}
