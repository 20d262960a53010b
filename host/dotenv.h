#pragma once
/* NAME=value files: `export`, comments, single and double quotes that may span lines,
   escapes in double quotes. Nothing is expanded or run. Messages never quote a value. */
#include <stddef.h>

#include "err.h"

/* The value is only there during the call. */
typedef void (*dotenv_each)(void *data, const char *name, const char *value, size_t len,
                            unsigned line);

/* NULL, or dotenv.syntax with the fields `source` and `line`. */
struct err *dotenv_parse(const char *text, size_t len, const char *source,
                         dotenv_each each, void *data);

#include <lua.h>
int luaopen_host_dotenv(lua_State *L);
