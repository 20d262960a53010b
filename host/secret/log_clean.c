/* One pass over the code points; nothing is kept between calls. An escape sequence that
   is cut in two is not recognized, so callers clean whole texts. Sequences are known in
   both forms, ESC [ and the C1 character CSI.

   A control string (OSC, DCS and the like) ends at BEL or ST, but also at the end of its
   line: a string without an end must not hide all text after it. */
#include "secret/log_clean.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

enum { ESC = 0x1b, CSI = 0x9b };

static bool is_bidi(uint32_t code)
{
    return code == 0x61c || code == 0x200e || code == 0x200f ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

static bool is_control(uint32_t code)
{
    return (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7f && code < 0xa0);
}

/* Parameters and the final byte behind CSI. */
static size_t skip_csi(const unsigned char *p, size_t len)
{
    size_t n = 0;
    while (n < len && p[n] >= 0x20 && p[n] < 0x40)
        n++;
    return n < len && p[n] >= 0x40 && p[n] < 0x7f ? n + 1 : n;
}

/* The length of a control string, with its end. */
static size_t skip_string(const unsigned char *p, size_t len)
{
    for (size_t n = 0; n < len; n++) {
        if (p[n] == '\n')
            return n;
        if (p[n] == '\a')
            return n + 1;
        if (p[n] == ESC && n + 1 < len && p[n + 1] == '\\')
            return n + 2;
        if (p[n] == 0xc2 && n + 1 < len && p[n + 1] == 0x9c)
            return n + 2;
    }
    return len;
}

/* What follows ESC. */
static size_t skip_escape(const unsigned char *p, size_t len)
{
    if (!len)
        return 0;
    if (*p == '[')
        return 1 + skip_csi(p + 1, len - 1);
    if (*p && strchr("]PX^_", *p))
        return 1 + skip_string(p + 1, len - 1);
    size_t n = 0;
    while (n < len && p[n] >= 0x20 && p[n] < 0x30)
        n++;
    return n < len && p[n] >= 0x30 && p[n] < 0x7f ? n + 1 : n;
}

static bool starts_string(uint32_t code)
{
    return code == 0x90 || code == 0x98 || (code >= 0x9d && code <= 0x9f);
}

void log_clean(const char *text, size_t len, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    while (p < end) {
        uint32_t code = 0;
        size_t n = text_char((const char *)p, (size_t)(end - p), &code);
        if (!n) {
            buf_add_text(out, "\xef\xbf\xbd");
            p++;
            continue;
        }
        const unsigned char *start = p;
        p += n;
        if (code == ESC)
            p += skip_escape(p, (size_t)(end - p));
        else if (code == CSI)
            p += skip_csi(p, (size_t)(end - p));
        else if (starts_string(code))
            p += skip_string(p, (size_t)(end - p));
        else if (!is_control(code) && !is_bidi(code))
            buf_add(out, start, n);
    }
}
