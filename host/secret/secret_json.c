/* json_check reads the whole text first; then everything is a walk with json_walk.h, with
   each name and value in a buffer that is wiped. The members `value` and `name` may come
   in any order, so an object is walked once for each name that is looked for: readers are
   values, and a copy of one starts again at the same place.

   Values that were found are owned by the search until the end, when they are pushed or,
   after an error, released. */
#include "secret/secret_json.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/json_walk.h"
#include "base/mem.h"
#include "base/opt.h"
#include "secret/secret.h"

enum { NESTING_LIMIT = 4, NAME_LIMIT = 256 };

struct search {
    char **at;    /* where to look: names of members, places in lists */
    char **names; /* only these are sealed; NULL: all that can be names */
    const char *source;
    struct secret **values;
    size_t count;
    struct err *error;
};

static void refuse(struct search *s, const char *format, const char *subject)
{
    if (s->error)
        return;
    char *reason =
        mem_format(format, subject); // NOLINT(clang-diagnostic-format-nonliteral)
    s->error = err_new("json.shape", "secret.from_json", "%s: %s", s->source, reason);
    mem_free(reason);
}

static bool is_wanted(char *const *names, const char *name, size_t len)
{
    for (char *const *one = names; one && *one; one++)
        if (strlen(*one) == len && memcmp(*one, name, len) == 0)
            return true;
    bool good = !names && len > 0 && len <= NAME_LIMIT && !isdigit((unsigned char)*name);
    for (size_t i = 0; i < len; i++)
        good = good && (isalnum((unsigned char)name[i]) || name[i] == '_');
    return good;
}

static void found(struct search *s, const struct buf *name, const struct buf *value)
{
    const char *text = buf_text(name);
    if (!is_wanted(s->names, text, name->len))
        return;
    if (value->len && memchr(value->data, '\0', value->len))
        refuse(s, "the value of %s contains a NUL character", text);
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(secret_name(s->values[i]), text) == 0)
            refuse(s, "%s occurs twice", text);
    if (s->error)
        return;
    s->values = mem_resize(s->values, (s->count + 1) * sizeof(void *));
    s->values[s->count++] = secret_new(text, buf_text(value), value->len);
}

/* The scalar of the member that has the first of these names. */
static bool read_member(struct json_reader object, const char *const *names,
                        struct buf *out)
{
    bool got = false;
    for (; *names && !got; names++) {
        struct json_reader r = object;
        struct json_walk w;
        json_walk_init(&w, &r);
        while (json_walk_next(&w, &r)) {
            if (!got && strcmp(buf_text(&w.name), *names) == 0)
                got = json_scalar(&r, out);
            else
                json_skip(&r);
        }
        json_walk_fini(&w);
    }
    return got;
}

static const char *const value_names[] = {"value", "computed", NULL};

static void collect_object(struct search *s, struct json_reader *r)
{
    struct json_walk w;
    json_walk_init(&w, r);
    while (json_walk_next(&w, r)) {
        struct json_reader here = *r;
        struct buf value;
        buf_init(&value);
        if (*r->p == '{' ? read_member(here, value_names, &value)
                         : json_scalar(&here, &value))
            found(s, &w.name, &value);
        buf_fini_wiped(&value);
        json_skip(r);
    }
    json_walk_fini(&w);
}

static void collect_list(struct search *s, struct json_reader *r)
{
    static const char *const keys[] = {"name", "key", "label", NULL};
    struct json_walk w;
    json_walk_init(&w, r);
    while (json_walk_next(&w, r)) {
        struct buf name, value;
        buf_init(&name);
        buf_init(&value);
        if (*r->p == '{' && read_member(*r, keys, &name) &&
            read_member(*r, value_names, &value))
            found(s, &name, &value);
        buf_fini_wiped(&name);
        buf_fini_wiped(&value);
        json_skip(r);
    }
    json_walk_fini(&w);
}

/* Goes to a member of the value, by its name or its place in a list. */
static bool enter(struct json_reader *r, const char *key)
{
    char c = json_peek(r);
    if (c != '{' && c != '[')
        return false;
    struct json_walk w;
    json_walk_init(&w, r);
    bool is_there = false;
    for (size_t i = 0; !is_there && json_walk_next(&w, r); i++) {
        char *place = mem_format("%zu", i);
        is_there = strcmp(c == '{' ? buf_text(&w.name) : place, key) == 0;
        mem_free(place);
        if (!is_there)
            json_skip(r);
    }
    json_walk_fini(&w);
    return is_there;
}

static void collect(struct search *s, const char *text, size_t len, char **at,
                    unsigned nesting)
{
    size_t place;
    const char *mistake = json_check(text, len, &place);
    if (mistake) {
        s->error = err_new("json.syntax", "secret.from_json",
                           "%s: invalid JSON: %s, at byte %zu of %zu", s->source, mistake,
                           place + 1, len);
        return;
    }
    struct json_reader r = json_reader(text, len);
    for (; *at && json_peek(&r) != '"'; at++)
        if (!enter(&r, *at)) {
            refuse(s, "it has no '%s'", *at);
            return;
        }
    char c = json_peek(&r);
    if (c == '{') {
        collect_object(s, &r);
    } else if (c == '[') {
        collect_list(s, &r);
    } else if (c == '"' && nesting < NESTING_LIMIT) {
        /* A string that holds JSON in its turn, as the SecretString of AWS does. */
        struct buf inner;
        buf_init(&inner);
        json_scalar(&r, &inner);
        collect(s, buf_text(&inner), inner.len, at, nesting + 1);
        buf_fini_wiped(&inner);
    } else {
        refuse(s, "%s an object or a list of objects",
               at > s->at ? "the value there is not" : "it is not");
    }
}

static int push_values(lua_State *L, const struct search *s)
{
    lua_createtable(L, (int)s->count, 0);
    for (size_t i = 0; i < s->count; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, secret_name(s->values[i]));
        lua_setfield(L, -2, "name");
        secret_push(L, s->values[i]);
        lua_setfield(L, -2, "value");
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static bool has_option(lua_State *L, const char *name)
{
    bool given = opt_push(L, 2, name);
    if (given)
        lua_pop(L, 1);
    return given;
}

int secret_l_from_json(lua_State *L)
{
    static const char op[] = "secret.from_json";
    static const struct opt options[] = {{"at", OPT_TABLE, false},
                                         {"names", OPT_TABLE, false},
                                         {"source", OPT_STRING, false},
                                         {NULL, 0, false}};
    size_t len;
    const char *text = lua_type(L, 1) == LUA_TNUMBER ? NULL : secret_bytes(L, 1, &len);
    if (!text)
        return err_argument(L, op, "needs a sealed value or a string, not %s",
                            luaL_typename(L, 1));
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    opt_check(L, 2, op, options);
    opt_check_strings(L, 2, "names", op); /* before memory is taken for `at` */
    struct search s = {.source = opt_string(L, 2, "source", "JSON")};
    s.at = opt_strings(L, 2, "at", op);
    if (has_option(L, "names"))
        s.names = opt_strings(L, 2, "names", op);
    collect(&s, text, len, s.at, 0);
    opt_strings_free(s.at);
    opt_strings_free(s.names);
    int results;
    if (s.error) {
        for (size_t i = 0; i < s.count; i++)
            secret_unref(s.values[i]);
        results = err_return(L, s.error);
    } else {
        results = push_values(L, &s);
    }
    mem_free(s.values);
    mem_wipe_stack();
    return results;
}
