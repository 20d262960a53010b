/* What this process is to others, and what its children inherit. */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/err.h"
#include "proc/proc_lua.h"

/* self() → {pid, namespace, user}: a pid means something only within its namespace, which
   the number of its inode tells. pid_namespaces(7) */
int proc_l_self(lua_State *L)
{
    struct stat info = {0};
    (void)stat("/proc/self/ns/pid", &info); /* where it cannot be asked, all are one */
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, getpid());
    lua_setfield(L, -2, "pid");
    lua_pushnumber(L, (lua_Number)info.st_ino);
    lua_setfield(L, -2, "namespace");
    uv_passwd_t user;
    if (uv_os_get_passwd(&user) == 0) {
        lua_pushstring(L, user.username);
        lua_setfield(L, -2, "user");
        uv_os_free_passwd(&user);
    }
    return 1;
}

/* export(name, value | nil): into the environment that children inherit */
int proc_l_export(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *value = luaL_optstring(L, 2, NULL);
    if (*name == '\0' || strchr(name, '='))
        err_argument(L, "proc.export", "'%s' cannot be the name of a variable", name);
    if ((value ? setenv(name, value, 1) : unsetenv(name)) != 0)
        return luaL_error(L, "proc.export: %s", strerror(errno));
    return 0;
}
