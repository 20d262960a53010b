#include "base/percent.h"

#include <ctype.h>
#include <string.h>

/* 0 to 255, or -1 where two hex digits do not stand. */
static int hex_pair(const char *text, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    int value = 0;
    if (len < 2)
        return -1;
    for (size_t i = 0; i < 2; i++) {
        const char *digit =
            text[i] ? strchr(digits, tolower((unsigned char)text[i])) : NULL;
        if (!digit)
            return -1;
        value = value * 16 + (int)(digit - digits);
    }
    return value;
}

void percent_decode(struct buf *out, const char *text, size_t len, bool form)
{
    for (size_t i = 0; i < len; i++) {
        int value = text[i] == '%' ? hex_pair(text + i + 1, len - i - 1) : -1;
        if (value >= 0) {
            unsigned char byte = (unsigned char)value;
            buf_add(out, &byte, 1);
            i += 2;
        } else if (form && text[i] == '+') {
            buf_add_char(out, ' ');
        } else {
            buf_add_char(out, text[i]);
        }
    }
}

void percent_encode(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80 && (isalnum(c) || (c && strchr("-._~", c))))
            buf_add_char(out, text[i]);
        else
            buf_add_format(out, "%%%02X", c);
    }
}
