/* A lexer with two speeds. python_next makes the next word. python_skip_statement passes
   over the rest of a statement and stops only at the bytes that decide where it ends:
   newlines, brackets, quotes, comments and backslashes. Both must count lines and
   brackets alike, since they alternate over one text.

   A string that does not end is PYTHON_UNREADABLE. Prefixes of bytes, raw and Unicode
   strings are known; an f-string is a name and then a string, so it is not taken for a
   literal. */
#include "formats/python.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

void python_init(struct python *p, const char *text, size_t len)
{
    *p = (struct python){.at = text, .end = text + len};
    p->line = 1;
    p->kind = PYTHON_NEWLINE;
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        p->at += 3;
}

void python_fini(struct python *p) { buf_fini(&p->text); }

static char peek(const struct python *p, size_t ahead)
{
    if ((size_t)(p->end - p->at) <= ahead)
        return '\0';
    return p->at[ahead];
}

static void add_escape(struct python *p)
{
    char c = *p->at++;
    switch (c) {
    case '\n':
        p->line++;
        break;
    case 'n':
        buf_add_char(&p->text, '\n');
        break;
    case 't':
        buf_add_char(&p->text, '\t');
        break;
    case '\\':
    case '\'':
    case '"':
        buf_add_char(&p->text, c);
        break;
    default:
        buf_add_char(&p->text, '\\');
        buf_add_char(&p->text, c);
    }
}

/* How much there is of a string before its quote, a backslash or the end of the line. */
static size_t plain_part(const struct python *p, char quote)
{
    const char *end = p->at;
    while (end < p->end && *end != quote && *end != '\\' && *end != '\n')
        end++;
    return (size_t)(end - p->at);
}

enum reading { PASS, KEEP, KEEP_RAW };

/* What a backslash stands before ends no string, in a raw one neither. */
static void read_backslash(struct python *p, enum reading reading)
{
    p->at++;
    if (peek(p, 0) == '\r' && peek(p, 1) == '\n')
        p->at++;
    if (p->at < p->end && reading == KEEP) {
        add_escape(p);
        return;
    }
    if (reading == KEEP_RAW)
        buf_add_char(&p->text, '\\');
    if (p->at >= p->end)
        return;
    if (reading == KEEP_RAW)
        buf_add_char(&p->text, *p->at);
    p->line += *p->at++ == '\n';
}

/* At the opening quote. */
static void read_string(struct python *p, enum reading reading)
{
    char quote = *p->at;
    bool triple = peek(p, 1) == quote && peek(p, 2) == quote;
    p->at += triple ? 3 : 1;
    p->kind = PYTHON_STRING;
    while (p->at < p->end) {
        size_t len = plain_part(p, quote);
        if (reading != PASS)
            buf_add(&p->text, p->at, len);
        p->at += len;
        if (p->at >= p->end || (*p->at == '\n' && !triple))
            break;
        char c = *p->at;
        if (c == quote && (!triple || (peek(p, 1) == quote && peek(p, 2) == quote))) {
            p->at += triple ? 3 : 1;
            return;
        }
        if (c == '\\') {
            read_backslash(p, reading);
            continue;
        }
        p->line += c == '\n';
        if (reading != PASS)
            buf_add_char(&p->text, c);
        p->at++;
    }
    p->kind = PYTHON_UNREADABLE;
}

static bool is_prefix(const char *name, size_t len, bool *raw)
{
    *raw = memchr(name, 'r', len) || memchr(name, 'R', len);
    return len <= 2 && strspn(name, "rRbBuU") >= len;
}

static void skip_comment(struct python *p)
{
    const char *end = memchr(p->at, '\n', (size_t)(p->end - p->at));
    p->at = end ? end : p->end;
}

/* A backslash at the end of a line: the next one belongs to it. */
static bool skip_joint(struct python *p)
{
    size_t len = peek(p, 1) == '\r' ? 3 : 2;
    if (peek(p, 1) != '\r' && peek(p, 1) != '\n')
        return false;
    p->at += len <= (size_t)(p->end - p->at) ? len : (size_t)(p->end - p->at);
    p->line++;
    return true;
}

/* Blank space, comments and continued lines; newlines only inside brackets. */
static void skip_space(struct python *p)
{
    while (p->at < p->end) {
        char c = *p->at;
        if (c == '#') {
            skip_comment(p);
        } else if (c == '\\') {
            if (!skip_joint(p))
                return;
        } else if (c == '\n' ? p->depth > 0 : isspace((unsigned char)c) != 0) {
            p->line += c == '\n';
            p->at++;
        } else {
            return;
        }
    }
}

static void count_bracket(struct python *p, char c)
{
    if (c == '(' || c == '[' || c == '{')
        p->depth++;
    else if ((c == ')' || c == ']' || c == '}') && p->depth > 0)
        p->depth--;
}

void python_next(struct python *p)
{
    bool line_start = p->kind == PYTHON_NEWLINE;
    const char *before = p->at;
    skip_space(p);
    p->at_margin = line_start && p->at == before;
    p->word_line = p->line;
    p->start = p->at;
    buf_reset(&p->text);
    if (p->at >= p->end) {
        p->kind = PYTHON_END;
    } else if (*p->at == '\n') {
        p->kind = PYTHON_NEWLINE;
        p->line++;
        p->at++;
    } else if (*p->at == '\'' || *p->at == '"') {
        read_string(p, KEEP);
    } else if (isalnum((unsigned char)*p->at) || *p->at == '_') {
        while (isalnum((unsigned char)peek(p, 0)) || peek(p, 0) == '_')
            p->at++;
        p->kind = PYTHON_NAME;
        bool raw = false;
        bool quoted = peek(p, 0) == '\'' || peek(p, 0) == '"';
        if (quoted && is_prefix(p->start, (size_t)(p->at - p->start), &raw))
            read_string(p, raw ? KEEP_RAW : KEEP);
    } else {
        p->kind = PYTHON_SIGN;
        count_bracket(p, *p->at);
        p->at++;
    }
    p->len = (size_t)(p->at - p->start);
}

bool python_is_sign(const struct python *p, char sign)
{
    return p->kind == PYTHON_SIGN && *p->start == sign;
}

bool python_is_name(const struct python *p, const char *name)
{
    return p->kind == PYTHON_NAME && p->len == strlen(name) &&
           memcmp(p->start, name, p->len) == 0;
}

void python_skip_statement(struct python *p)
{
    static const bool matters[UCHAR_MAX + 1] = {
        ['\n'] = true, ['\''] = true, ['"'] = true, ['#'] = true,
        ['\\'] = true, ['('] = true,  [')'] = true, ['['] = true,
        [']'] = true,  ['{'] = true,  ['}'] = true,
    };
    while (p->kind != PYTHON_END && p->kind != PYTHON_NEWLINE) {
        while (p->at < p->end && !matters[(unsigned char)*p->at])
            p->at++;
        char c = peek(p, 0);
        if (p->at >= p->end) {
            p->kind = PYTHON_END;
        } else if (c == '\'' || c == '"') {
            read_string(p, PASS);
        } else if (c == '#') {
            skip_comment(p);
        } else if (c == '\n') {
            p->line++;
            p->at++;
            p->kind = p->depth == 0 ? PYTHON_NEWLINE : PYTHON_SIGN;
        } else if (c != '\\' || !skip_joint(p)) {
            count_bracket(p, c);
            p->at++;
        }
    }
}
