/* What a program said is read from its end, so that the last lines are found without
   splitting all of it. The user and password of a URL are masked by their place in the
   text: git and ssh print the URL of a remote, whose password is not a registered
   secret. */
#include "base/text.h"

#include <stdint.h>
#include <string.h>

enum { LINE_SHOWN = 500 };

size_t text_char(const char *bytes, size_t len, uint32_t *point)
{
    const unsigned char *s = (const unsigned char *)bytes;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t need = s[0] < 0x80       ? 1
                  : s[0] >> 5 == 6  ? 2
                  : s[0] >> 4 == 14 ? 3
                  : s[0] >> 3 == 30 ? 4
                                    : 0;
    if (need == 0 || need > len)
        return 0;
    *point = need == 1 ? s[0] : s[0] & (0x7fu >> need);
    for (size_t i = 1; i < need; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        *point = *point << 6 | (s[i] & 0x3fu);
    }
    if (*point < least[need] || *point > 0x10ffff || *point >> 11 == 0x1b)
        return 0;
    return need;
}

void text_clean(struct buf *out, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t point = 0;
        size_t n = text_char(bytes + i, len - i, &point);
        if (n == 0) {
            buf_add_char(out, '?');
            i++;
            continue;
        }
        if (point < 0x20 || (point >= 0x7f && point < 0xa0))
            buf_add_char(out, ' ');
        else
            buf_add(out, bytes + i, n);
        i += n;
    }
}

/* One line, with the name and password of a URL shown as ***. */
static void add_line(struct buf *out, const char *line, size_t len)
{
    const char *end = line + len;
    for (const char *mark = memmem(line, len, "://", 3); mark;
         mark = memmem(line, (size_t)(end - line), "://", 3)) {
        mark += 3;
        const char *at = mark;
        while (at < end && *at != '@' && *at != '/' && *at != ' ' && *at != '\'')
            at++;
        text_clean(out, line, (size_t)(mark - line));
        if (at < end && *at == '@')
            buf_add_text(out, "***");
        else
            text_clean(out, mark, (size_t)(at - mark));
        line = at;
    }
    text_clean(out, line, (size_t)(end - line));
}

/* The line, cut to `limit` bytes where a character ends. It is cut after it is masked: a
   URL without its end would look like one without a password. */
static void add_line_start(struct buf *out, const char *line, size_t len, size_t limit)
{
    struct buf masked;
    buf_init(&masked);
    add_line(&masked, line, len);
    size_t cut = masked.len < limit ? masked.len : limit;
    while (cut > 0 && cut < masked.len && (masked.data[cut] & 0xc0) == 0x80)
        cut--;
    buf_add(out, buf_text(&masked), cut);
    buf_fini_wiped(&masked);
}

static size_t prefix(const char *line, size_t len, const char *text)
{
    size_t n = strlen(text);
    return len >= n && memcmp(line, text, n) == 0 ? n : 0;
}

/* The line that ends at `*end`; moves `*end` before it. Returns its length, trimmed. */
static size_t line_before(const char *bytes, size_t *end, const char **line)
{
    size_t stop = *end;
    size_t start = stop;
    while (start > 0 && bytes[start - 1] != '\n' && bytes[start - 1] != '\r')
        start--;
    *end = start > 0 ? start - 1 : 0;
    while (stop > start && bytes[stop - 1] == ' ')
        stop--;
    *line = bytes + start;
    return stop - start;
}

void text_last_lines(struct buf *out, const char *bytes, size_t len, size_t count)
{
    struct {
        const char *text;
        size_t len;
    } lines[16];
    size_t n = 0;
    size_t end = len;
    if (count > 16)
        count = 16;
    while (end > 0 && n < count) {
        const char *line;
        size_t line_len = line_before(bytes, &end, &line);
        if (line_len == 0 || prefix(line, line_len, "hint:"))
            continue;
        size_t skip = prefix(line, line_len, "fatal: ");
        if (!skip)
            skip = prefix(line, line_len, "error: ");
        lines[n].text = line + skip;
        lines[n++].len = line_len - skip;
    }
    while (n > 0) {
        n--;
        add_line_start(out, lines[n].text, lines[n].len, LINE_SHOWN);
        if (n > 0)
            buf_add_text(out, "; ");
    }
}
