/* host.json: a Lua value as JSON text. cjson, which reads JSON for dgrun, writes the keys
   of an object in any order, numbers with 14 digits, and every empty table as {}. */
#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "base/modules.h"
#include "secret/redact.h"
#include "secret/secret.h"

static const char op_name[] = "json.encode";

/* Tables with these metatables are an array, also when they are empty, and a number whose
   digits are in the field `text`. */
static const char array_type[] = "dgrun.json.array";
static const char number_type[] = "dgrun.json.number";

enum { DEPTH_LIMIT = 200 };

enum mode {
    PLAIN,
    MASKED, /* each string by itself */
    BODY,   /* of a request: a sealed value is written, and seals the whole text */
};

struct writer {
    lua_State *L;
    struct buf out;
    enum mode mode;
    const char *sealed_name; /* of the first sealed value that was written */
    struct err *error;
};

/* Where in the value the writer is, for messages only. */
struct place {
    const struct place *parent;
    const char *name; /* NULL: an item of an array */
    size_t number;
    unsigned depth;
};

static void add_place(struct buf *text, const struct place *at)
{
    if (at->parent)
        add_place(text, at->parent);
    if (!at->parent)
        buf_add_text(text, at->name);
    else if (at->name)
        buf_add_format(text, ".%.100s", at->name);
    else
        buf_add_format(text, "[%zu]", at->number);
}

/* `format` has one %s, for `subject`. */
static void refuse(struct writer *w, const struct place *at, const char *code,
                   const char *format, const char *subject)
{
    struct buf text;
    buf_init(&text);
    add_place(&text, at);
    char *reason =
        mem_format(format, subject); // NOLINT(clang-diagnostic-format-nonliteral)
    w->error = err_new(code, op_name, "%s: %s", buf_text(&text), reason);
    mem_free(reason);
    buf_fini(&text);
}

static bool has_type(lua_State *L, int index, const char *type)
{
    if (!lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, type);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static void write_string(struct writer *w, const char *bytes, size_t len)
{
    if (w->mode != MASKED) {
        json_add_string(&w->out, bytes, len);
        return;
    }
    struct buf masked;
    buf_init(&masked);
    secret_redact(bytes, len, &masked);
    json_add_string(&w->out, buf_text(&masked), masked.len);
    buf_fini(&masked);
}

/* With the fewest digits that give the same number again. */
static void write_number(struct writer *w, const struct place *at, double n)
{
    char text[40];
    if (!isfinite(n)) {
        refuse(w, at, "json.invalid", "%s is not a JSON number",
               isnan(n) ? "nan" : "infinity");
        return;
    }
    int len = 0;
    if (n == floor(n) && fabs(n) <= 9007199254740992.0) {
        len = snprintf(text, sizeof text, "%lld", (long long)n);
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            len = snprintf(text, sizeof text, "%.*g", digits, n);
            if (strtod(text, NULL) == n)
                break;
        }
    }
    buf_add(&w->out, text, (size_t)len);
}

static void write_value(struct writer *w, const struct place *at);

static void write_array(struct writer *w, const struct place *at)
{
    size_t count = lua_objlen(w->L, -1);
    buf_add_char(&w->out, '[');
    for (size_t i = 1; i <= count && !w->error; i++) {
        struct place item = {.parent = at, .number = i, .depth = at->depth + 1};
        if (i > 1)
            buf_add_char(&w->out, ',');
        lua_rawgeti(w->L, -1, (int)i);
        write_value(w, &item);
        lua_pop(w->L, 1);
    }
    buf_add_char(&w->out, ']');
}

struct key {
    const char *string; /* the table holds it */
    size_t len;
    double number;
    char digits[32]; /* of a number; empty: the key is a string */
};

struct keys {
    struct key *list;
    size_t count, size;
};

static const char *key_text(const struct key *key)
{
    return key->digits[0] ? key->digits : key->string;
}

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    size_t len = a->len < b->len ? a->len : b->len;
    int order = memcmp(key_text(a), key_text(b), len);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* The key on top of the stack, which stays there. */
static void add_key(lua_State *L, struct keys *keys)
{
    if (keys->count == keys->size) {
        keys->size = keys->size ? keys->size * 2 : 16;
        keys->list = mem_resize(keys->list, keys->size * sizeof *keys->list);
    }
    struct key *key = &keys->list[keys->count++];
    key->digits[0] = '\0';
    if (lua_type(L, -1) == LUA_TSTRING) {
        key->string = lua_tolstring(L, -1, &key->len);
    } else {
        key->number = lua_tonumber(L, -1);
        key->len =
            (size_t)snprintf(key->digits, sizeof key->digits, "%.14g", key->number);
    }
}

/* The names of the table on top of the stack, sorted. */
static void collect_keys(struct writer *w, const struct place *at, struct keys *keys)
{
    lua_State *L = w->L;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        int type = lua_type(L, -1);
        if (type != LUA_TSTRING && type != LUA_TNUMBER) {
            refuse(w, at, "json.invalid", "a key is a %s", lua_typename(L, type));
            lua_pop(L, 1);
            return;
        }
        add_key(L, keys);
    }
    if (keys->count > 1)
        qsort(keys->list, keys->count, sizeof *keys->list, compare_keys);
}

static void write_members(struct writer *w, const struct place *at,
                          const struct keys *keys)
{
    lua_State *L = w->L;
    for (size_t i = 0; i < keys->count && !w->error; i++) {
        const struct key *key = &keys->list[i];
        struct place member = {
            .parent = at, .name = key_text(key), .depth = at->depth + 1};
        if (i > 0)
            buf_add_char(&w->out, ',');
        write_string(w, key_text(key), key->len);
        buf_add_char(&w->out, ':');
        if (key->digits[0])
            lua_pushnumber(L, key->number);
        else
            lua_pushlstring(L, key->string, key->len);
        lua_rawget(L, -2);
        write_value(w, &member);
        lua_pop(L, 1);
    }
}

static void write_object(struct writer *w, const struct place *at)
{
    struct keys keys = {0};
    collect_keys(w, at, &keys);
    if (!w->error) {
        buf_add_char(&w->out, '{');
        write_members(w, at, &keys);
        buf_add_char(&w->out, '}');
    }
    mem_free(keys.list);
}

static void write_table(struct writer *w, const struct place *at)
{
    lua_State *L = w->L;
    if (at->depth > DEPTH_LIMIT || !lua_checkstack(L, 12)) {
        w->error = err_new("json.invalid", op_name,
                           "the value is nested too deeply or refers to itself");
    } else if (has_type(L, -1, array_type) || lua_objlen(L, -1) > 0) {
        write_array(w, at);
    } else if (has_type(L, -1, number_type)) {
        lua_getfield(L, -1, "text");
        buf_add_text(&w->out, lua_tostring(L, -1));
        lua_pop(L, 1);
    } else {
        write_object(w, at);
    }
}

static void write_userdata(struct writer *w, const struct place *at)
{
    const struct secret *s = secret_test(w->L, -1);
    if (!s) {
        refuse(w, at, "json.invalid", "a %s is not a JSON value", "userdata");
    } else if (w->mode != BODY) {
        refuse(w, at, "json.sealed", "secret(%s) cannot be encoded as JSON",
               secret_name(s));
        err_hint(w->error, "Only the body of a request may contain a secret.");
    } else {
        secret_add_json(&w->out, s);
        w->sealed_name = w->sealed_name ? w->sealed_name : secret_name(s);
    }
}

/* The value on top of the stack, which stays there. */
static void write_value(struct writer *w, const struct place *at)
{
    lua_State *L = w->L;
    size_t len;
    const char *bytes;
    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        buf_add_text(&w->out, "null");
        break;
    case LUA_TBOOLEAN:
        buf_add_text(&w->out, lua_toboolean(L, -1) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        write_number(w, at, lua_tonumber(L, -1));
        break;
    case LUA_TSTRING:
        bytes = lua_tolstring(L, -1, &len);
        write_string(w, bytes, len);
        break;
    case LUA_TTABLE:
        write_table(w, at);
        break;
    case LUA_TUSERDATA:
        write_userdata(w, at);
        break;
    default:
        if (lua_islightuserdata(L, -1) && !lua_touserdata(L, -1)) { /* cjson's null */
            buf_add_text(&w->out, "null");
            break;
        }
        refuse(w, at, "json.invalid", "a %s is not a JSON value", luaL_typename(L, -1));
    }
}

static int encode(lua_State *L, enum mode mode)
{
    struct writer w = {.L = L, .mode = mode};
    struct place at = {.name = mode == BODY ? "body" : "value"};
    buf_init(&w.out);
    lua_settop(L, 1);
    write_value(&w, &at);
    int results = 1;
    if (w.error)
        results = err_return(L, w.error);
    else if (w.sealed_name)
        secret_push(L, secret_derive(w.sealed_name, w.out.data, w.out.len));
    else
        lua_pushlstring(L, buf_text(&w.out), w.out.len);
    buf_fini_wiped(&w.out); /* a secret may be in a body */
    return results;
}

/* encode(value) → text | nil, err */
static int l_encode(lua_State *L) { return encode(L, PLAIN); }

/* masked(value) → text | nil, err */
static int l_masked(lua_State *L) { return encode(L, MASKED); }

/* body(value) → text or sealed text | nil, err */
static int l_body(lua_State *L) { return encode(L, BODY); }

int luaopen_host_json(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"encode", l_encode}, {"masked", l_masked}, {"body", l_body}, {NULL, NULL}};
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    luaL_newmetatable(L, array_type);
    lua_setfield(L, -2, "array_metatable");
    luaL_newmetatable(L, number_type);
    lua_setfield(L, -2, "number_metatable");
    return 1;
}
