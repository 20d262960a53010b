/* The file is read statement by statement. Only a statement that begins with a name at
   the margin can be an assignment of the module, so the same names inside functions do
   not count. As in Python, the last assignment wins.

   A value that is not a literal is an error and not a guess: a graph with a wrong edge
   would run migrations in the wrong order. */
#include "formats/migrations_scan.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "formats/python.h"

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

static struct err *unreadable(const struct python *p, const char *source,
                              const char *what)
{
    struct err *e =
        err_new("migrations.unreadable", "migrations.read",
                "%s:%u: %s is not a plain string, None, or a tuple of strings", source,
                p->word_line, what);
    err_field_int(e, "line", p->word_line);
    return e;
}

/* One string, of neighbours joined. */
static void read_joined(struct python *p, struct strings *into)
{
    struct buf whole;
    buf_init(&whole);
    while (p->kind == PYTHON_STRING) {
        buf_add(&whole, buf_text(&p->text), p->text.len);
        python_next(p);
    }
    strings_add(into, buf_text(&whole));
    buf_fini(&whole);
}

/* value := STRING… | None | ( value, … ) | [ value, … ] | { value, … } */
static bool read_value(struct python *p, struct strings *into, unsigned nesting)
{
    if (p->kind == PYTHON_STRING) {
        read_joined(p, into);
        return true;
    }
    if (python_is_name(p, "None")) {
        python_next(p);
        return true;
    }
    if (nesting > 8 ||
        !(python_is_sign(p, '(') || python_is_sign(p, '[') || python_is_sign(p, '{')))
        return false;
    python_next(p);
    while (
        !(python_is_sign(p, ')') || python_is_sign(p, ']') || python_is_sign(p, '}'))) {
        if (!read_value(p, into, nesting + 1))
            return false;
        if (python_is_sign(p, ','))
            python_next(p);
    }
    python_next(p);
    return true;
}

/* After the name: an annotation, then "=". False when it is no assignment. */
static bool skip_to_value(struct python *p)
{
    if (python_is_sign(p, ':')) {
        unsigned depth = p->depth;
        do
            python_next(p);
        while (p->kind != PYTHON_END && p->kind != PYTHON_NEWLINE &&
               !(python_is_sign(p, '=') && p->depth == depth));
    }
    if (!python_is_sign(p, '='))
        return false;
    python_next(p);
    return !python_is_sign(p, '=');
}

static void take_docstring(struct python *p, struct revision *r)
{
    const char *text = buf_text(&p->text);
    text += strspn(text, " \t\r\n");
    size_t len = strcspn(text, "\r\n");
    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    if (len)
        r->message = mem_copy(text, len);
}

static struct err *read_statement(struct python *p, struct revision *r,
                                  const char *source)
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
        if (!python_is_name(p, wanted[i].name))
            continue;
        unsigned line = p->word_line;
        python_next(p);
        if (!skip_to_value(p))
            break;
        strings_fini(wanted[i].into);
        if (!read_value(p, wanted[i].into, 0) ||
            (p->kind != PYTHON_NEWLINE && p->kind != PYTHON_END &&
             !python_is_sign(p, ';'))) {
            error = unreadable(p, source, wanted[i].name);
        } else if (i == 0 && ids.count == 1) {
            mem_free(r->id);
            r->id = mem_string(ids.items[0]);
            r->line = line;
        } else if (i == 0) {
            error = unreadable(p, source, wanted[i].name);
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
    struct python p;
    python_init(&p, text, len);
    struct err *error = NULL;
    bool first = true;
    python_next(&p);
    while (p.kind != PYTHON_END && !error) {
        if (p.kind == PYTHON_NEWLINE) {
            python_next(&p);
            continue;
        }
        if (first && p.kind == PYTHON_STRING)
            take_docstring(&p, r);
        first = false;
        if (p.at_margin && p.kind == PYTHON_NAME)
            error = read_statement(&p, r, source);
        python_skip_statement(&p);
    }
    python_fini(&p);
    if (error)
        revision_fini(r);
    return error;
}
