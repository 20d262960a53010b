#pragma once
/* Sealed values, and the redaction of everything that leaves the process.

   A sealed value lives in locked memory that core dumps leave out, is wiped when freed,
   and cannot be read from Lua. Every one made by secret_new is registered with the
   redactor for the life of the process; a derived one (a concatenation, a JSON form) is
   not, since the secret inside it is. Values are counted references. */
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct secret;

struct secret *secret_new(const char *name, const void *data,
                          size_t len); /* copies, registers */
struct secret *secret_derive(const char *name, const void *data, size_t len); /* copies */
struct secret *secret_ref(struct secret *s);
void secret_unref(struct secret *s); /* NULL is fine; wipes the last one */
const char *secret_name(const struct secret *s);

/* The bytes, NUL behind them. Only http, proc, postgres, fly, digest and the URL reader
 * may open one. */
const char *secret_open(const struct secret *s, size_t *len);

/* Appends it as a JSON string, quotes included, to what the caller seals or wipes. */
void secret_add_json(struct buf *out, const struct secret *s);

void secret_push(lua_State *L, struct secret *s); /* takes over the caller's reference */
struct secret *secret_test(lua_State *L,
                           int index); /* NULL if the value is not sealed; borrowed */

/* A string or sealed value at `index` as bytes, borrowed: *len is set. NULL if it is
 * neither. */
const char *secret_bytes(lua_State *L, int index, size_t *len);

/* The sealed value that is the first argument; raises when it is not one. */
struct secret *secret_check(lua_State *L, const char *op);
/* The name at `index`; raises. Names are printed: no control characters, nothing endless.
 */
const char *secret_check_name(lua_State *L, int index, const char *op);

/* A method of sealed values that stands in another file. */
void secret_add_method(lua_State *L, const char *name, lua_CFunction method);
