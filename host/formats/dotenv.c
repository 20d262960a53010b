/* One pass, entry by entry. The value that is being read is in one buffer, which is wiped
   at the end; it leaves only through `each`, for the time of the call. `each` must not
   raise: the raise would jump over the wiping. So the Lua face collects sealed values
   first and pushes them afterwards.

   The size of the file, the length of a name and the number of entries are limited. */
#include "formats/dotenv.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"
#include "loop/fs.h"
#include "secret/secret.h"

enum { FILE_LIMIT = 1024 * 1024, NAME_LIMIT = 256, ENTRY_LIMIT = 4096 };

struct reader {
    const char *p, *end;
    const char *source;
    unsigned line;
    bool expands; /* of the entry that is being read */
    struct buf value;
};

static struct err *syntax_error(const struct reader *r, unsigned line, const char *reason)
{
    struct err *e =
        err_new("dotenv.syntax", "dotenv.parse", "%s:%u: %s", r->source, line, reason);
    err_field(e, "source", r->source);
    err_field_int(e, "line", line);
    return e;
}

static bool at_end(const struct reader *r) { return r->p == r->end; }

static bool at_newline(const struct reader *r) { return !at_end(r) && *r->p == '\n'; }

static void skip_blanks(struct reader *r)
{
    while (!at_end(r) && (*r->p == ' ' || *r->p == '\t' || *r->p == '\r'))
        r->p++;
}

static void skip_line(struct reader *r)
{
    while (!at_end(r) && !at_newline(r))
        r->p++;
}

static bool skip_export(struct reader *r)
{
    const size_t len = strlen("export");
    if ((size_t)(r->end - r->p) <= len || memcmp(r->p, "export", len) != 0 ||
        (r->p[len] != ' ' && r->p[len] != '\t'))
        return false;
    r->p += len;
    skip_blanks(r);
    return true;
}

static struct err *read_name(struct reader *r, char name[NAME_LIMIT + 1])
{
    size_t len = 0;
    while (!at_end(r) && (isalnum((unsigned char)*r->p) || *r->p == '_')) {
        if (len == NAME_LIMIT)
            return syntax_error(r, r->line, "the name is too long");
        name[len++] = *r->p++;
    }
    name[len] = '\0';
    if (!len || isdigit((unsigned char)name[0]))
        return syntax_error(r, r->line, "expected NAME=value");
    skip_blanks(r);
    return NULL;
}

static struct err *read_equals(struct reader *r)
{
    if (at_end(r) || *r->p != '=')
        return syntax_error(r, r->line, "expected '=' after the name");
    r->p++;
    skip_blanks(r);
    return NULL;
}

/* What a shell would replace: ${…}, $(…) and `…`. A bare $NAME is no such thing here: too
   many passwords hold one. */
static bool begins_expansion(const char *p, const char *end)
{
    return *p == '`' || (*p == '$' && p + 1 < end && (p[1] == '{' || p[1] == '('));
}

/* One character of a quoted value; CR LF counts as LF. */
static void take(struct reader *r)
{
    if (*r->p == '\r' && r->p + 1 < r->end && r->p[1] == '\n')
        r->p++;
    if (*r->p == '\n')
        r->line++;
    buf_add_char(&r->value, *r->p++);
}

/* "\n" and its like; with a newline behind it both are dropped, as in a shell; a
   backslash before anything else stands for itself. */
static void take_escape(struct reader *r)
{
    static const char letters[] = "nrt\"\\$`", meanings[] = "\n\r\t\"\\$`";
    size_t left = (size_t)(r->end - r->p);
    size_t newline = left > 1 && r->p[1] == '\n'                      ? 2
                     : left > 2 && r->p[1] == '\r' && r->p[2] == '\n' ? 3
                                                                      : 0;
    if (newline) {
        r->p += newline;
        r->line++;
        return;
    }
    const char *letter = r->p + 1 < r->end && r->p[1] ? strchr(letters, r->p[1]) : NULL;
    if (!letter) {
        take(r);
        return;
    }
    buf_add_char(&r->value, meanings[letter - letters]);
    r->p += 2;
}

static struct err *read_quoted(struct reader *r)
{
    unsigned opened = r->line;
    char quote = *r->p++;
    while (!at_end(r) && *r->p != quote) {
        if (quote == '"' && *r->p == '\\') {
            take_escape(r);
            continue;
        }
        r->expands |= quote == '"' && begins_expansion(r->p, r->end);
        take(r);
    }
    if (at_end(r))
        return syntax_error(r, opened, "the quote that opens here is never closed");
    r->p++;
    skip_blanks(r);
    if (!at_end(r) && !at_newline(r) && *r->p != '#')
        return syntax_error(r, r->line, "only a comment may follow the closing quote");
    skip_line(r);
    return NULL;
}

/* To the end of the line, or to a '#' behind a blank. */
static void read_bare(struct reader *r)
{
    const char *from = r->p;
    skip_line(r);
    const char *to = from;
    while (to < r->p && !(*to == '#' && (to[-1] == ' ' || to[-1] == '\t')))
        to++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    buf_add(&r->value, from, (size_t)(to - from));
    for (; from < to; from++)
        r->expands |= begins_expansion(from, to);
}

static struct err *read_entry(struct reader *r, dotenv_each each, void *data)
{
    char name[NAME_LIMIT + 1];
    unsigned line = r->line;
    bool exported = skip_export(r);
    struct err *e = read_name(r, name);
    if (!e && exported && (at_end(r) || at_newline(r) || *r->p == '#')) {
        skip_line(r); /* of a name that was set before */
        return NULL;
    }
    if (!e)
        e = read_equals(r);
    if (e)
        return e;
    buf_reset(&r->value);
    r->expands = false;
    if (!at_end(r) && (*r->p == '"' || *r->p == '\''))
        e = read_quoted(r);
    else
        read_bare(r);
    if (!e)
        each(data, &(struct dotenv_entry){.name = name,
                                          .value = buf_text(&r->value),
                                          .len = r->value.len,
                                          .line = line,
                                          .expands = r->expands});
    return e;
}

struct err *dotenv_parse(const char *text, size_t len, const char *source,
                         dotenv_each each, void *data)
{
    struct reader r = {.p = text, .end = text + len, .source = source, .line = 1};
    if (len > FILE_LIMIT)
        return syntax_error(&r, 1, "the file is larger than 1 MiB");
    if (len >= 2 &&
        (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return syntax_error(&r, 1, "the file is UTF-16; save it as UTF-8");
    if (len && memchr(text, '\0', len))
        return syntax_error(&r, 1, "the file contains NUL bytes");
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        r.p += 3;
    buf_init(&r.value);
    struct err *e = NULL;
    for (unsigned entries = 0; !e && !at_end(&r);) {
        skip_blanks(&r);
        if (!at_end(&r) && *r.p == '#')
            skip_line(&r);
        if (at_newline(&r)) {
            r.p++;
            r.line++;
        } else if (!at_end(&r)) {
            e = ++entries > ENTRY_LIMIT
                    ? syntax_error(&r, r.line, "there are too many entries")
                    : read_entry(&r, each, data);
        }
    }
    buf_fini_wiped(&r.value);
    return e;
}

/* The Lua face. */

struct entry {
    struct secret *value;
    unsigned line;
    bool expands;
};

struct found {
    struct entry *entries;
    size_t count;
    const char *const *names; /* only these are sealed; NULL: all */
};

static bool is_wanted(const char *const *names, const char *name)
{
    if (!names)
        return true;
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

static void on_entry(void *data, const struct dotenv_entry *entry)
{
    struct found *f = data;
    if (!is_wanted(f->names, entry->name))
        return;
    f->entries = mem_resize(f->entries, (f->count + 1) * sizeof *f->entries);
    f->entries[f->count++] = (struct entry){
        secret_new(entry->name, entry->value, entry->len), entry->line, entry->expands};
}

static void push_found(lua_State *L, const struct found *f)
{
    lua_createtable(L, (int)f->count, 0);
    for (size_t i = 0; i < f->count; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, secret_name(f->entries[i].value));
        lua_setfield(L, -2, "name");
        lua_pushinteger(L, f->entries[i].line);
        lua_setfield(L, -2, "line");
        if (f->entries[i].expands) {
            lua_pushboolean(L, 1);
            lua_setfield(L, -2, "expands");
        }
        secret_push(L, f->entries[i].value);
        lua_setfield(L, -2, "value");
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static int parse_and_return(lua_State *L, const char *text, size_t len,
                            const char *source, char **names)
{
    struct found f = {.names = (const char *const *)names};
    struct err *e = dotenv_parse(text, len, source, on_entry, &f);
    opt_strings_free(names);
    if (e) {
        for (size_t i = 0; i < f.count; i++)
            secret_unref(f.entries[i].value);
        mem_free(f.entries);
        return err_return(L, e);
    }
    push_found(L, &f);
    mem_free(f.entries);
    return 1;
}

/* The option `names`, or NULL when it is not given. */
static char **check_names(lua_State *L, int index, const char *op)
{
    static const struct opt options[] = {{"names", OPT_TABLE, false}, {NULL, 0, false}};
    if (lua_isnoneornil(L, index))
        return NULL;
    opt_check(L, index, op, options);
    if (!opt_push(L, index, "names"))
        return NULL;
    lua_pop(L, 1);
    return opt_strings(L, index, "names", op);
}

/* parse(text, source, {names={…}}) → {{name=, value=sealed, line=, expands=}, …} | nil,
 * err */
static int l_parse(lua_State *L)
{
    size_t len;
    const char *text = secret_bytes(L, 1, &len);
    if (!text)
        return err_argument(L, "dotenv.parse", "needs a string or a sealed value, not %s",
                            luaL_typename(L, 1));
    const char *source = luaL_optstring(L, 2, "dotenv");
    char **names = check_names(L, 3, "dotenv.parse");
    int results = parse_and_return(L, text, len, source, names);
    mem_wipe_stack();
    return results;
}

/* read(path, {names={…}}) → the same */
static int l_read(lua_State *L)
{
    const char *path = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : NULL;
    if (!path || strlen(path) != lua_objlen(L, 1))
        return err_argument(L, "dotenv.read", "needs a path");
    char **names = check_names(L, 2, "dotenv.read");
    struct buf text;
    buf_init(&text);
    struct err *e = fs_read("dotenv.read", path, FILE_LIMIT, &text);
    if (e) {
        opt_strings_free(names);
        buf_fini_wiped(&text);
        return err_return(L, e);
    }
    int results = parse_and_return(L, buf_text(&text), text.len, path, names);
    buf_fini_wiped(&text);
    mem_wipe_stack();
    return results;
}

int luaopen_host_dotenv(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"parse", l_parse},
        {"read", l_read},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
