#pragma once
/* The one error shape: {code, msg, op, hint, …fields} with __tostring.
   In C an error is a value that an operation can hold until Lua is there to take it;
   err_push, err_return and err_raise consume it. */
#include <lua.h>

struct err;

/* `code` is dotted ("http.timeout"), `op` the call that failed ("http.request"),
   the format gives the message for people: what was tried, on what, why it failed. */
struct err *err_new(const char *code, const char *op, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The converters. `subject` names what was acted on (a path, a host); NULL for none. */
struct err *err_errno(int number, const char *op, const char *subject);
struct err *err_uv(int status, const char *op, const char *subject);
struct err *err_cancelled(const char *op);

void err_hint(struct err *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void err_field(struct err *e, const char *name, const char *value); /* copied */
void err_field_int(struct err *e, const char *name, long long value);
const char *err_code(const struct err *e);
const char *err_msg(const struct err *e);
void err_free(struct err *e); /* NULL is fine */

void err_push(lua_State *L, struct err *e);  /* one value: the error object */
int err_return(lua_State *L, struct err *e); /* nil, object; returns 2 */
int err_raise(lua_State *L, struct err *e);  /* does not return */

/* Notes in the field `where` the first frame outside the stdlib: the line a person wrote.
 */
void err_locate(lua_State *L, struct err *e);

/* Wrong use of a primitive: raises input.invalid with the caller's position. */
int err_argument(lua_State *L, const char *op, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Pushes the metatable that makes a table an error object. */
void err_metatable(lua_State *L);
