#include "migrations_scan.h"

#include <ctype.h>
#include <string.h>

#include "mem.h"

enum kind { END, NEWLINE, NAME, STRING, SIGN, UNREADABLE };

struct scanner {
    const char *at, *end;
    const char *source;
    unsigned line;
    unsigned depth; /* of brackets: newlines inside do not end a statement */
    /* the current token */
    enum kind kind;
    const char *start;
    size_t len;
    unsigned token_line;
    bool at_margin;  /* the first of its line, not indented */
    struct buf text; /* of a STRING */
};

static void strings_add(struct strings *s, const char *text)
{
    s->items = mem_resize(s->items, (s->count + 1) * sizeof *s->items);
    s->items[s->count++] = mem_string(text);
}

static void strings_fini(struct strings *s)
{
    for (unsigned i = 0; i < s->count; i++)
        mem_free(s->items[i]);
    mem_free(s->items);
    *s = (struct strings){0};
}

void revision_fini(struct revision *r)
{
    mem_free(r->id);
    mem_free(r->message);
    strings_fini(&r->down);
    strings_fini(&r->labels);
    strings_fini(&r->depends_on);
}

static char peek(const struct scanner *s, size_t ahead)
{
    if ((size_t)(s->end - s->at) <= ahead)
        return '\0';
    return s->at[ahead];
}

static void add_escape(struct scanner *s)
{
    char c = *s->at++;
    switch (c) {
    case '\n':
        s->line++;
        break;
    case 'n':
        buf_add_char(&s->text, '\n');
        break;
    case 't':
        buf_add_char(&s->text, '\t');
        break;
    case '\\':
    case '\'':
    case '"':
        buf_add_char(&s->text, c);
        break;
    default:
        buf_add_char(&s->text, '\\');
        buf_add_char(&s->text, c);
    }
}

/* At the opening quote. */
static void read_string(struct scanner *s, bool raw)
{
    char quote = *s->at;
    bool triple = peek(s, 1) == quote && peek(s, 2) == quote;
    s->at += triple ? 3 : 1;
    s->kind = STRING;
    while (s->at < s->end) {
        char c = *s->at;
        if (c == quote && (!triple || (peek(s, 1) == quote && peek(s, 2) == quote))) {
            s->at += triple ? 3 : 1;
            return;
        }
        if (c == '\n' && !triple)
            break;
        if (c == '\n')
            s->line++;
        s->at++;
        if (c == '\\' && s->at < s->end && !raw)
            add_escape(s);
        else
            buf_add_char(&s->text, c);
    }
    s->kind = UNREADABLE;
}

static bool is_prefix(const char *name, size_t len, bool *raw)
{
    *raw = memchr(name, 'r', len) || memchr(name, 'R', len);
    return len <= 2 && strspn(name, "rRbBuU") >= len;
}

/* Blank space, comments and continued lines; newlines only inside brackets. */
static void skip_space(struct scanner *s)
{
    for (; s->at < s->end; s->at++) {
        char c = *s->at;
        if (c == '#') {
            while (s->at + 1 < s->end && s->at[1] != '\n')
                s->at++;
        } else if (c == '\\' && (peek(s, 1) == '\n' || peek(s, 1) == '\r')) {
            s->at += peek(s, 1) == '\r';
            s->at++;
            s->line++;
        } else if (c == '\n' && s->depth > 0) {
            s->line++;
        } else if (c == '\n' || !isspace((unsigned char)c)) {
            return;
        }
    }
}

static void next(struct scanner *s)
{
    bool line_start = s->kind == NEWLINE;
    const char *before = s->at;
    skip_space(s);
    s->at_margin = line_start && s->at == before;
    s->token_line = s->line;
    s->start = s->at;
    buf_reset(&s->text);
    if (s->at >= s->end) {
        s->kind = END;
    } else if (*s->at == '\n') {
        s->kind = NEWLINE;
        s->line++;
        s->at++;
    } else if (*s->at == '\'' || *s->at == '"') {
        read_string(s, false);
    } else if (isalnum((unsigned char)*s->at) || *s->at == '_') {
        while (isalnum((unsigned char)peek(s, 0)) || peek(s, 0) == '_')
            s->at++;
        s->kind = NAME;
        bool raw = false;
        bool quoted = peek(s, 0) == '\'' || peek(s, 0) == '"';
        if (quoted && is_prefix(s->start, (size_t)(s->at - s->start), &raw))
            read_string(s, raw);
    } else {
        s->kind = SIGN;
        if (strchr("([{", *s->at))
            s->depth++;
        else if (strchr(")]}", *s->at) && s->depth > 0)
            s->depth--;
        s->at++;
    }
    s->len = (size_t)(s->at - s->start);
}

static bool is_sign(const struct scanner *s, char sign)
{
    return s->kind == SIGN && *s->start == sign;
}

static bool is_name(const struct scanner *s, const char *name)
{
    return s->kind == NAME && s->len == strlen(name) &&
           memcmp(s->start, name, s->len) == 0;
}

static struct err *unreadable(const struct scanner *s, const char *what)
{
    struct err *e =
        err_new("migrations.unreadable", "migrations.read",
                "%s:%u: %s is not a plain string, None, or a tuple of strings", s->source,
                s->token_line, what);
    err_field_int(e, "line", s->token_line);
    return e;
}

/* One string, of neighbours joined. */
static void read_joined(struct scanner *s, struct strings *into)
{
    struct buf whole;
    buf_init(&whole);
    while (s->kind == STRING) {
        buf_add(&whole, buf_text(&s->text), s->text.len);
        next(s);
    }
    strings_add(into, buf_text(&whole));
    buf_fini(&whole);
}

/* value := STRING… | None | ( value, … ) | [ value, … ] | { value, … } */
static bool read_value(struct scanner *s, struct strings *into, unsigned nesting)
{
    if (s->kind == STRING) {
        read_joined(s, into);
        return true;
    }
    if (is_name(s, "None")) {
        next(s);
        return true;
    }
    if (nesting > 8 || !(is_sign(s, '(') || is_sign(s, '[') || is_sign(s, '{')))
        return false;
    next(s);
    while (!(is_sign(s, ')') || is_sign(s, ']') || is_sign(s, '}'))) {
        if (!read_value(s, into, nesting + 1))
            return false;
        if (is_sign(s, ','))
            next(s);
    }
    next(s);
    return true;
}

/* After the name: an annotation, then "=". False when it is no assignment. */
static bool skip_to_value(struct scanner *s)
{
    if (is_sign(s, ':')) {
        unsigned depth = s->depth;
        do
            next(s);
        while (s->kind != END && s->kind != NEWLINE &&
               !(is_sign(s, '=') && s->depth == depth));
    }
    if (!is_sign(s, '='))
        return false;
    next(s);
    return !is_sign(s, '=');
}

static void skip_statement(struct scanner *s)
{
    while (s->kind != END && s->kind != NEWLINE)
        next(s);
}

static void take_docstring(struct scanner *s, struct revision *r)
{
    const char *text = buf_text(&s->text);
    text += strspn(text, " \t\r\n");
    size_t len = strcspn(text, "\r\n");
    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    if (len)
        r->message = mem_copy(text, len);
}

static struct err *read_statement(struct scanner *s, struct revision *r)
{
    struct strings ids = {0};
    struct {
        const char *name;
        struct strings *into;
    } wanted[] = {
        {"revision", &ids},
        {"down_revision", &r->down},
        {"branch_labels", &r->labels},
        {"depends_on", &r->depends_on},
    };
    struct err *error = NULL;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (!is_name(s, wanted[i].name))
            continue;
        unsigned line = s->token_line;
        next(s);
        if (!skip_to_value(s))
            break;
        strings_fini(wanted[i].into);
        if (!read_value(s, wanted[i].into, 0) ||
            (s->kind != NEWLINE && s->kind != END && !is_sign(s, ';'))) {
            error = unreadable(s, wanted[i].name);
        } else if (i == 0 && ids.count == 1) {
            mem_free(r->id);
            r->id = mem_string(ids.items[0]);
            r->line = line;
        } else if (i == 0) {
            error = unreadable(s, wanted[i].name);
        }
        break;
    }
    strings_fini(&ids);
    return error;
}

struct err *revision_scan(struct revision *r, const char *text, size_t len,
                          const char *source)
{
    *r = (struct revision){0};
    struct scanner s = {
        .at = text, .end = text + len, .source = source, .line = 1, .kind = NEWLINE};
    struct err *error = NULL;
    bool first = true;
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        s.at += 3;
    next(&s);
    while (s.kind != END && !error) {
        if (s.kind == NEWLINE) {
            next(&s);
            continue;
        }
        if (first && s.kind == STRING)
            take_docstring(&s, r);
        first = false;
        if (s.at_margin && s.kind == NAME)
            error = read_statement(&s, r);
        skip_statement(&s);
    }
    buf_fini(&s.text);
    if (error)
        revision_fini(r);
    return error;
}
