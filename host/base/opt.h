#pragma once
/* Option tables: f{ name = value, … }. One call checks them all, before anything
   is allocated; the getters read what was checked. */
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

enum opt_type {
    OPT_STRING = 1, /* a string without NUL bytes */
    OPT_BYTES,      /* any string */
    OPT_BOOLEAN,
    OPT_INTEGER, /* a whole number from 0 to 2^53 */
    OPT_SECONDS, /* a finite number, 0 or more */
    OPT_TABLE,
    OPT_FUNCTION,
    OPT_VALUE, /* a string or a sealed value */
    OPT_ANY,
};

/* The registry key of the metatable of sealed values: secret/secret.c makes it. */
extern const char opt_sealed_key;

struct opt {
    const char *name; /* NULL ends the list */
    enum opt_type type;
    bool required;
};

/* Raises input.unknown_option (with the nearest known name), input.missing_option or
   input.invalid. `op` names the call in the message: "http.request". */
void opt_check(lua_State *L, int index, const char *op, const struct opt *options);

/* Getters: the value, or `fallback` when absent. Strings live as long as the table. */
const char *opt_string(lua_State *L, int index, const char *name, const char *fallback);
const char *opt_bytes(lua_State *L, int index, const char *name,
                      size_t *len); /* NULL: absent */
bool opt_boolean(lua_State *L, int index, const char *name, bool fallback);
long long opt_integer(lua_State *L, int index, const char *name, long long fallback);
double opt_seconds(lua_State *L, int index, const char *name, double fallback);
bool opt_push(lua_State *L, int index,
              const char *name); /* false and nothing pushed: absent */

/* A list of strings (checked, raises) as a NULL-terminated array; opt_strings_free frees
   it. A second one is checked before the first one is read. */
void opt_check_strings(lua_State *L, int index, const char *name, const char *op);
char **opt_strings(lua_State *L, int index, const char *name, const char *op);
void opt_strings_free(char **strings);

/* The name in `known` (ends with NULL) nearest to `name`, or NULL if none is near. */
const char *opt_nearest(const char *name, const char *const *known);
