#pragma once
/* What can be asked of a value that cannot be read: whether it keeps to a rule. Values
   are sealed ones, or strings, so that literals are judged by the same rules. */
#include <lua.h>
#include <stddef.h>

/* Pushes the answer to the question that stands at `kind`, its argument behind it; raises
   when there is no such question. A NUL byte stands behind the data. */
int secret_rule_test(lua_State *L, const char *data, size_t len, int kind,
                     const char *op);

int secret_l_test(lua_State *L);          /* test(value, kind, argument) → boolean */
int secret_l_pattern_fault(lua_State *L); /* pattern_fault(text) → reason, or nil */
