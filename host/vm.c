#include "vm.h"

#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <luajit.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/modules.h"
#include "base/opt.h"
#include "formats/dburl.h"
#include "formats/dotenv.h"
#include "loop/fs.h"
#include "loop/task.h"
#include "loop/tty.h"
#include "secret/gate.h"
#include "secret/log.h"
#include "secret/secret.h"

int luaopen_cjson_safe(lua_State *L);

/* The modules in the binary; all others called host.x are loaded from modules/x.so. */
static const luaL_Reg built_in[] = {
    {"cjson.safe", luaopen_cjson_safe},
    {"host.task", luaopen_host_task},
    {"host.err", luaopen_host_err},
    {"host.opt", luaopen_host_opt},
    {"host.gate", luaopen_host_gate},
    {"host.json", luaopen_host_json},
    {"host.log", luaopen_host_log},
    {"host.secret", luaopen_host_secret},
    {"host.dotenv", luaopen_host_dotenv},
    {"host.dburl", luaopen_host_dburl},
    {"host.time", luaopen_host_time},
    {"host.tty", luaopen_host_tty},
    {"host.stdin", luaopen_host_stdin},
    {"host.fs", luaopen_host_fs},
    {"host.proc", luaopen_host_proc},
    {"host.git", luaopen_host_git},
    {"host.yaml", luaopen_host_yaml},
    {"host.migrations", luaopen_host_migrations},
    {NULL, NULL},
};

/* Modules that share a file with another. */
static const struct {
    const char *name;
    const char *file;
} shared_files[] = {{"fly", "http"}};

static int compare_chunk(const void *name, const void *chunk)
{
    return strcmp(name, ((const struct vm_chunk *)chunk)->name);
}

struct chunk_file {
    FILE *file;
    char bytes[4096];
};

static const char *read_chunk(lua_State *L, void *data, size_t *size)
{
    (void)L;
    struct chunk_file *chunk = data;
    *size = fread(chunk->bytes, 1, sizeof chunk->bytes, chunk->file);
    return *size > 0 ? chunk->bytes : NULL;
}

/* Loads a file of the folder under the name that it has when it is embedded, so that
   errors and traces read the same. False when there is no such file. */
static bool load_file(lua_State *L, const char *folder, const char *relative,
                      bool is_init)
{
    const char *suffix = is_init ? "/init.lua" : ".lua";
    const char *path = lua_pushfstring(L, "%s/%s%s", folder, relative, suffix);
    struct chunk_file chunk = {.file = fopen(path, "re")};
    if (!chunk.file)
        return false;
    const char *name = lua_pushfstring(L, "@stdlib/%s%s", relative, suffix);
    int status = lua_load(L, read_chunk, &chunk, name);
    fclose(chunk.file);
    if (status != 0)
        lua_error(L);
    return true;
}

/* loader(name): the stdlib's file of that name, from DGRUN_STDLIB or embedded */
static int l_load_stdlib(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *folder = getenv("DGRUN_STDLIB");
    if (folder && *folder) {
        const char *relative = luaL_gsub(L, name, ".", "/");
        if (load_file(L, folder, relative, false) || load_file(L, folder, relative, true))
            return 1;
    }
    const struct vm_chunk *chunk =
        bsearch(name, vm_stdlib, vm_stdlib_count, sizeof *vm_stdlib, compare_chunk);
    if (!chunk) {
        lua_pushfstring(L, "\n\tno module '%s' in the stdlib", name);
        return 1;
    }
    if (luaL_loadbuffer(L, chunk->code, chunk->len, name) != 0)
        return lua_error(L);
    return 1;
}

static const char *file_of(const char *name)
{
    for (size_t i = 0; i < sizeof shared_files / sizeof *shared_files; i++)
        if (strcmp(shared_files[i].name, name) == 0)
            return shared_files[i].file;
    return name;
}

/* loader("host.x"): luaopen_host_x of modules/x.so beside the binary */
static int l_load_host(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *noun = name + strlen("host.");
    if (strncmp(name, "host.", strlen("host.")) != 0 ||
        strspn(noun, "abcdefghijklmnopqrstuvwxyz_") != strlen(noun) || !*noun)
        return 0;
    const char *folder = lua_tostring(L, lua_upvalueindex(1));
    const char *path = lua_pushfstring(L, "%s/%s.so", folder, file_of(noun));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library && access(folder, X_OK) != 0)
        return luaL_error(
            L,
            "dgrun was copied without its modules: the folder %s is missing. "
            "Install dgrun again, or copy that folder too",
            folder);
    if (!library) {
        lua_pushfstring(L, "\n\tno host module '%s': %s", name, dlerror());
        return 1;
    }
    const char *symbol = lua_pushfstring(L, "luaopen_host_%s", noun);
    union {
        void *object;
        lua_CFunction function;
    } entry = {.object = dlsym(library, symbol)};
    if (!entry.object)
        return luaL_error(L, "%s has no %s", path, symbol);
    lua_pushcfunction(L, entry.function);
    return 1;
}

/* modules/ stands beside the binary where it was built, in ../lib/dgrun/ where installed.
 */
static void push_module_folder(lua_State *L, const char *program)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    if (len > 0)
        path[len] = '\0';
    else if (!realpath(program, path))
        luaL_error(L, "cannot find the path of %s: %s", program, strerror(errno));
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    const char *beside = lua_pushfstring(L, "%s/modules", path);
    if (access(beside, X_OK) != 0) {
        lua_pop(L, 1);
        slash = strrchr(path, '/');
        if (slash)
            *slash = '\0';
        lua_pushfstring(L, "%s/lib/dgrun", path);
    }
}

static int protected_open(lua_State *L)
{
    luaL_openlibs(L);
    /* https://github.com/LuaJIT/LuaJIT/issues/827: a loop over pairs() in a blacklisted
       trace can end early. Debian 12's LuaJIT (2.1.0-beta3, git20220320) is affected: a
       copied machine configuration lost its fields, about once in 40 runs of a spec that
       deploys. Later snapshots are said to have the fix, but no run has shown it of any
       that dgrun is built with (Debian 13: 2.1.0+openresty20250117), so the compiler is
       off for all versions. dgrun waits for others nearly all of its time; the
       interpreter is fast enough. */
    if (!luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF))
        return luaL_error(L, "cannot turn off the LuaJIT compiler");
    task_open(L);

    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (const luaL_Reg *module = built_in; module->name; module++) {
        lua_pushcfunction(L, module->func);
        lua_setfield(L, -2, module->name);
    }
    lua_pop(L, 1);

    /* After preload: the stdlib, the loadable modules, then package.path. Nothing is
       loaded from wherever one happens to stand. */
    lua_getfield(L, -1, "loaders");
    lua_rawgeti(L, -1, 3);
    lua_rawseti(L, -2, 5);
    lua_rawgeti(L, -1, 2);
    lua_rawseti(L, -2, 4);
    lua_pushcfunction(L, l_load_stdlib);
    lua_rawseti(L, -2, 2);
    push_module_folder(L, lua_touserdata(L, 1));
    lua_pushcclosure(L, l_load_host, 1);
    lua_rawseti(L, -2, 3);
    lua_pop(L, 1);
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "path");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "cpath");
    lua_pop(L, 1);

    lua_getglobal(L, "require");
    lua_pushliteral(L, "dgrun.core.globals");
    lua_call(L, 1, 0);
    return 0;
}

lua_State *vm_open(const char *program)
{
    lua_State *L = luaL_newstate();
    if (!L)
        abort();
    lua_pushcfunction(L, protected_open);
    lua_pushlightuserdata(L, (void *)program);
    if (lua_pcall(L, 1, 0, 0) != 0) {
        const char *message = lua_tostring(L, -1);
        log_write(LOG_ERR, "dgrun: ", strlen("dgrun: "));
        log_write(LOG_ERR, message ? message : "cannot start",
                  message ? strlen(message) : 12);
        log_write(LOG_ERR, "\n", 1);
        exit(1);
    }
    return L;
}

struct task_left vm_close(lua_State *L)
{
    struct sched *scheduler = task_close_hooks(L);
    lua_close(L);
    return task_close_loop(scheduler);
}
