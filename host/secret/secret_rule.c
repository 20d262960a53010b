#include "secret/secret_rule.h"

#include <ctype.h>
#include <lauxlib.h>
#include <regex.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/opt.h"
#include "secret/secret.h"

/* The value under test: borrowed, a NUL byte behind it. */
struct subject {
    const char *data;
    size_t len;
};

/* One question. `argument` is the index of what belongs to it; `op` names the call. */
struct kind {
    const char *name;
    bool (*holds)(lua_State *L, struct subject s, int argument, const char *op);
};

static bool is_empty(lua_State *L, struct subject s, int argument, const char *op)
{
    (void)L, (void)argument, (void)op;
    return s.len == 0;
}

static bool is_blank(lua_State *L, struct subject s, int argument, const char *op)
{
    (void)L, (void)argument, (void)op;
    return strspn(s.data, " \t\r\n") == s.len;
}

static bool is_multiline(lua_State *L, struct subject s, int argument, const char *op)
{
    (void)L, (void)argument, (void)op;
    return memchr(s.data, '\n', s.len) != NULL;
}

/* Calls `matches` with each string of the list, until one does. */
static bool any_of(lua_State *L, struct subject s, int list, const char *op,
                   bool (*matches)(struct subject s, const char *text, size_t len))
{
    if (!lua_istable(L, list))
        err_argument(L, op, "needs a list of strings");
    bool found = false;
    for (size_t i = 1, count = lua_objlen(L, list); i <= count; i++) {
        size_t len;
        lua_rawgeti(L, list, (int)i);
        if (lua_type(L, -1) != LUA_TSTRING)
            err_argument(L, op, "needs a list of strings");
        const char *text = lua_tolstring(L, -1, &len);
        found = found || matches(s, text, len);
        lua_pop(L, 1);
    }
    return found;
}

/* The length of the scheme; 0 when it is no URL: SCHEME://something, in one line. */
static size_t scheme_of(struct subject s)
{
    size_t len = 0;
    while (isalnum((unsigned char)s.data[len]) ||
           (s.data[len] && strchr("+-._", s.data[len])))
        len++;
    if (!isalpha((unsigned char)s.data[0]) || strncmp(s.data + len, "://", 3) != 0 ||
        len + 3 == s.len)
        return 0;
    for (size_t i = 0; i < s.len; i++)
        if (iscntrl((unsigned char)s.data[i]))
            return 0;
    return s.data[len + 3] == ' ' ? 0 : len;
}

static bool has_scheme(struct subject s, const char *text, size_t len)
{
    return scheme_of(s) == len && strncasecmp(s.data, text, len) == 0;
}

/* A URL; with a list, one of these schemes. */
static bool is_url(lua_State *L, struct subject s, int argument, const char *op)
{
    if (lua_isnoneornil(L, argument))
        return scheme_of(s) > 0;
    return any_of(L, s, argument, op, has_scheme);
}

static bool same(struct subject s, const char *text, size_t len)
{
    return s.len == len && memcmp(s.data, text, len) == 0;
}

static bool is_one_of(lua_State *L, struct subject s, int argument, const char *op)
{
    return any_of(L, s, argument, op, same);
}

/* In characters: the bytes that continue a UTF-8 sequence do not count. */
static size_t length_of(struct subject s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++)
        count += ((unsigned char)s.data[i] & 0xc0) != 0x80;
    return count;
}

static size_t check_count(lua_State *L, int argument, const char *op)
{
    double count = lua_type(L, argument) == LUA_TNUMBER ? lua_tonumber(L, argument) : -1;
    if (!(count >= 0 && count <= 1e9))
        err_argument(L, op, "needs a number of characters");
    return (size_t)count;
}

static bool has_min_length(lua_State *L, struct subject s, int argument, const char *op)
{
    return length_of(s) >= check_count(L, argument, op);
}

static bool has_max_length(lua_State *L, struct subject s, int argument, const char *op)
{
    return length_of(s) <= check_count(L, argument, op);
}

static int compile(regex_t *regex, const char *pattern)
{
    return regcomp(regex, pattern, REG_EXTENDED);
}

/* POSIX takes the leftmost longest match, so a match of the whole value is found if there
   is one. glibc reads the value where it lies: in the C locale it makes no copy. */
static bool fits_pattern(lua_State *L, struct subject s, int argument, const char *op)
{
    const char *pattern =
        lua_type(L, argument) == LUA_TSTRING ? lua_tostring(L, argument) : NULL;
    regex_t regex;
    if (!pattern || compile(&regex, pattern) != 0)
        return err_argument(L, op, "needs a pattern: a POSIX extended expression");
    regmatch_t match = {.rm_so = 0, .rm_eo = (regoff_t)s.len};
    bool found = regexec(&regex, s.data, 1, &match, REG_STARTEND) == 0;
    regfree(&regex);
    return found && match.rm_so == 0 && (size_t)match.rm_eo == s.len;
}

static const struct kind kinds[] = {
    {"empty", is_empty},
    {"blank", is_blank},
    {"multiline", is_multiline},
    {"url", is_url},
    {"one_of", is_one_of},
    {"min_length", has_min_length},
    {"max_length", has_max_length},
    {"pattern", fits_pattern},
};

enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

int secret_rule_test(lua_State *L, const char *data, size_t len, int kind, const char *op)
{
    const char *name = lua_type(L, kind) == LUA_TSTRING ? lua_tostring(L, kind) : "";
    const char *names[KIND_COUNT + 1] = {NULL};
    for (size_t i = 0; i < KIND_COUNT; i++) {
        names[i] = kinds[i].name;
        if (strcmp(name, kinds[i].name) != 0)
            continue;
        struct subject s = {data, len};
        lua_pushboolean(L, kinds[i].holds(L, s, kind + 1, op));
        return 1;
    }
    const char *nearest = opt_nearest(name, names);
    return err_argument(L, op, "unknown test '%s'%s%s", name,
                        nearest ? ", did you mean " : "", nearest ? nearest : "");
}

int secret_l_test(lua_State *L)
{
    size_t len = 0;
    const char *data = lua_type(L, 1) == LUA_TNUMBER ? NULL : secret_bytes(L, 1, &len);
    if (!data)
        return err_argument(L, "secret.test", "needs a sealed value or a string, not %s",
                            luaL_typename(L, 1));
    return secret_rule_test(L, data, len, 2, "secret.test");
}

int secret_l_pattern_fault(lua_State *L)
{
    const char *pattern = luaL_checkstring(L, 1);
    char reason[200] = "contains a NUL byte";
    regex_t regex;
    if (strlen(pattern) == lua_objlen(L, 1)) {
        int status = compile(&regex, pattern);
        if (status == 0) {
            regfree(&regex);
            return 0;
        }
        regerror(status, &regex, reason, sizeof reason);
    }
    lua_pushstring(L, reason);
    return 1;
}
