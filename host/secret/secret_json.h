#pragma once
/* Secrets out of the JSON that a password manager prints. The text is read where it lies
   and each wanted value goes straight into a sealed one; messages quote nothing of it.

   Names and values stand in an object, NAME: value, where a value may also be an object
   that holds it as `value` or `computed`; or in a list of objects with `name`, `key` or
   `label`, and `value`. Numbers and booleans count as their JSON text, null as none. */
#include <lua.h>

/* from_json(text, {at = {"data", …}, names = {…}, source = "op"})
   → {{name=, value=sealed}, …} | nil, err */
int secret_l_from_json(lua_State *L);
