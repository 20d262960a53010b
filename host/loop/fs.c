/* host.fs: each function checks its arguments and then makes one call of fs_file.c or
   fs_tree.c, or one system call. It works at once, on the thread of the loop.

   Everything that changes a file asks the gate first. A temporary folder is opened for
   writes when it is made, so that a plan can work in it. */
#include "loop/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"
#include "secret/gate.h"
#include "secret/secret.h"

enum { READ_LIMIT = 64 * 1024 * 1024 };

static const char *check_path(lua_State *L, int index, const char *op)
{
    const char *path = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
    if (!path || !*path || strlen(path) != lua_objlen(L, index))
        err_argument(L, op, "needs a path, a string that is not empty");
    return path;
}

static const char *check_data(lua_State *L, const char *op, size_t *len)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        err_argument(L, op, "needs a string to write, not %s", luaL_typename(L, 2));
    return lua_tolstring(L, 2, len);
}

/* False when there are none; raises for those that do not belong. */
static bool check_options(lua_State *L, int index, const char *op,
                          const struct opt *options)
{
    if (lua_isnoneornil(L, index))
        return false;
    opt_check(L, index, op, options);
    return true;
}

static int true_or_error(lua_State *L, struct err *e)
{
    if (e)
        return err_return(L, e);
    lua_pushboolean(L, true);
    return 1;
}

static int system_result(lua_State *L, bool good, const char *op, const char *path)
{
    return true_or_error(L, good ? NULL : err_errno(errno, op, path));
}

/* read(path, {limit=bytes, seal=NAME}) → string, sealed with `seal` | nil, err */
static int l_read(lua_State *L)
{
    static const struct opt options[] = {
        {"limit", OPT_INTEGER, false}, {"seal", OPT_STRING, false}, {NULL, 0, false}};
    const char *path = check_path(L, 1, "fs.read");
    size_t limit = READ_LIMIT;
    const char *seal = NULL;
    if (check_options(L, 2, "fs.read", options)) {
        limit = (size_t)opt_integer(L, 2, "limit", READ_LIMIT);
        seal = opt_string(L, 2, "seal", NULL);
    }
    struct buf content;
    buf_init(&content);
    struct err *e = fs_read("fs.read", path, limit, &content);
    if (!e && seal)
        secret_push(L, secret_new(seal, buf_text(&content), content.len));
    else if (!e)
        lua_pushlstring(L, buf_text(&content), content.len);
    if (seal)
        buf_fini_wiped(&content);
    else
        buf_fini(&content);
    return e ? err_return(L, e) : 1;
}

/* 384 or "0600". A number that looks octal in print (600) is out of range, which catches
 * it. */
static mode_t check_mode(lua_State *L, int index, const char *op)
{
    mode_t mode = 0600;
    if (!opt_push(L, index, "mode"))
        return mode;
    long value = -1;
    if (lua_type(L, -1) == LUA_TNUMBER) {
        value = (long)lua_tonumber(L, -1);
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        const char *text = lua_tostring(L, -1);
        if (*text && strspn(text, "01234567") == strlen(text))
            value = strtol(text, NULL, 8);
    }
    if (value < 0 || value > 0777)
        err_argument(L, op, "the mode must be an octal string such as \"0600\"");
    lua_pop(L, 1);
    return (mode_t)value;
}

/* write(path, data, {mode="0600", atomic=true}) → true | nil, err */
static int l_write(lua_State *L)
{
    static const struct opt options[] = {
        {"mode", OPT_ANY, false}, {"atomic", OPT_BOOLEAN, false}, {NULL, 0, false}};
    const char *path = check_path(L, 1, "fs.write");
    size_t len;
    const char *data = check_data(L, "fs.write", &len);
    mode_t mode = 0600;
    bool atomic = true;
    if (check_options(L, 3, "fs.write", options)) {
        mode = check_mode(L, 3, "fs.write");
        atomic = opt_boolean(L, 3, "atomic", true);
    }
    return true_or_error(L, fs_write(path, data, len, mode, atomic));
}

/* append(path, data) → true | nil, err */
static int l_append(lua_State *L)
{
    const char *path = check_path(L, 1, "fs.append");
    size_t len;
    const char *data = check_data(L, "fs.append", &len);
    return true_or_error(L, fs_append(path, data, len));
}

/* mkdir(path, {parents=true}) → true | nil, err */
static int l_mkdir(lua_State *L)
{
    static const struct opt options[] = {{"parents", OPT_BOOLEAN, false},
                                         {NULL, 0, false}};
    const char *path = check_path(L, 1, "fs.mkdir");
    bool parents = true;
    if (check_options(L, 2, "fs.mkdir", options))
        parents = opt_boolean(L, 2, "parents", true);
    return true_or_error(L, fs_mkdir(path, parents));
}

/* remove(path, {recursive=false}) → true | nil, err */
static int l_remove(lua_State *L)
{
    static const struct opt options[] = {{"recursive", OPT_BOOLEAN, false},
                                         {NULL, 0, false}};
    const char *path = check_path(L, 1, "fs.remove");
    bool recursive = false;
    if (check_options(L, 2, "fs.remove", options))
        recursive = opt_boolean(L, 2, "recursive", false);
    return true_or_error(L, fs_remove(path, recursive));
}

static const char *type_name(mode_t mode)
{
    if (S_ISREG(mode))
        return "file";
    if (S_ISDIR(mode))
        return "directory";
    return S_ISLNK(mode) ? "link" : "other";
}

/* stat(path) → {type=, size=, mtime=, mode=} | nil, err; of a link itself */
static int l_stat(lua_State *L)
{
    const char *path = check_path(L, 1, "fs.stat");
    struct stat st;
    if (lstat(path, &st) != 0)
        return err_return(L, err_errno(errno, "fs.stat", path));
    lua_createtable(L, 0, 4);
    lua_pushstring(L, type_name(st.st_mode));
    lua_setfield(L, -2, "type");
    lua_pushnumber(L, (double)st.st_size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec / 1e9);
    lua_setfield(L, -2, "mtime");
    lua_pushinteger(L, st.st_mode & 07777);
    lua_setfield(L, -2, "mode");
    return 1;
}

/* exists(path) → boolean; a link counts as what it points at */
static int l_exists(lua_State *L)
{
    struct stat st;
    lua_pushboolean(L, stat(check_path(L, 1, "fs.exists"), &st) == 0);
    return 1;
}

/* rename(from, to) → true | nil, err */
static int l_rename(lua_State *L)
{
    const char *from = check_path(L, 1, "fs.rename"), *to = check_path(L, 2, "fs.rename");
    struct err *e = fs_gate("fs.rename", from);
    if (!e)
        e = fs_gate("fs.rename", to);
    if (e)
        return err_return(L, e);
    return system_result(L, rename(from, to) == 0, "fs.rename", from);
}

/* copy(from, to) → true | nil, err; one file, with its mode */
static int l_copy(lua_State *L)
{
    const char *from = check_path(L, 1, "fs.copy"), *to = check_path(L, 2, "fs.copy");
    return true_or_error(L, fs_copy(from, to));
}

/* symlink(target, path) → true | nil, err */
static int l_symlink(lua_State *L)
{
    const char *target = check_path(L, 1, "fs.symlink"),
               *path = check_path(L, 2, "fs.symlink");
    struct err *e = fs_gate("fs.symlink", path);
    if (e)
        return err_return(L, e);
    return system_result(L, symlink(target, path) == 0, "fs.symlink", path);
}

/* temp_dir(prefix) → path | nil, err; private, and open to writes in a plan */
static int l_temp_dir(lua_State *L)
{
    const char *prefix =
        lua_isnoneornil(L, 1) ? "dgrun" : check_path(L, 1, "fs.temp_dir");
    if (strchr(prefix, '/'))
        return err_argument(L, "fs.temp_dir", "the prefix is a name, not a path");
    const char *base = getenv("TMPDIR");
    char *where = fs_absolute(base && *base ? base : "/tmp");
    char *path = mem_format("%s/%s-XXXXXX", where, prefix);
    mem_free(where);
    struct err *e = mkdtemp(path) ? NULL : err_errno(errno, "fs.temp_dir", path);
    if (!e) {
        gate_allow(path);
        lua_pushstring(L, path);
    }
    mem_free(path);
    return e ? err_return(L, e) : 1;
}

/* absolute(path) → path from the root, by name only */
static int l_absolute(lua_State *L)
{
    char *path = fs_absolute(check_path(L, 1, "fs.absolute"));
    lua_pushstring(L, path);
    mem_free(path);
    return 1;
}

/* real(path) → path without links | nil, err */
static int l_real(lua_State *L)
{
    const char *path = check_path(L, 1, "fs.real");
    char *real = realpath(path, NULL);
    if (!real)
        return err_return(L, err_errno(errno, "fs.real", path));
    lua_pushstring(L, real);
    free(real);
    return 1;
}

static int l_cwd(lua_State *L)
{
    char *here = getcwd(NULL, 0);
    if (!here)
        return err_return(L, err_errno(errno, "fs.cwd", NULL));
    lua_pushstring(L, here);
    free(here);
    return 1;
}

/* chdir(path) → true | nil, err; of the whole process, before anything runs */
static int l_chdir(lua_State *L)
{
    const char *path = check_path(L, 1, "fs.chdir");
    return system_result(L, chdir(path) == 0, "fs.chdir", path);
}

/* list(path [, "unsorted"]) → names | nil, err */
static int l_list(lua_State *L)
{
    static const char *const orders[] = {"sorted", "unsorted", NULL};
    const char *path = check_path(L, 1, "fs.list");
    bool sorted = luaL_checkoption(L, 2, "sorted", orders) == 0;
    char **names;
    size_t count;
    struct err *e = fs_list(path, sorted, &names, &count);
    if (e)
        return err_return(L, e);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushstring(L, names[i]);
        lua_rawseti(L, -2, (int)i + 1);
        mem_free(names[i]);
    }
    mem_free(names);
    return 1;
}

/* A lock is held as long as its descriptor is open: a process that dies gives it back. */
struct lock {
    int fd; /* -1: released */
};

static const char lock_type[] = "dgrun.fs.lock";

static int l_lock_release(lua_State *L)
{
    struct lock *lock = luaL_checkudata(L, 1, lock_type);
    int fd = lock->fd;
    lock->fd = -1;
    if (fd >= 0)
        close(fd);
    return 0;
}

static int take_lock(const char *path, struct err **e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (fd >= 0 && errno == EWOULDBLOCK)
        *e = err_new("fs.locked", "fs.lock", "%s: locked by another process", path);
    else
        *e = err_errno(errno, "fs.lock", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* lock(path) → lock | nil, err (fs.locked) */
static int l_lock(lua_State *L)
{
    const char *path = check_path(L, 1, "fs.lock");
    struct lock *lock = lua_newuserdata(L, sizeof *lock);
    lock->fd = -1;
    luaL_getmetatable(L, lock_type);
    lua_setmetatable(L, -2);
    struct err *e = fs_gate("fs.lock", path);
    if (!e)
        lock->fd = take_lock(path, &e);
    return e ? err_return(L, e) : 1;
}

static void make_lock_type(lua_State *L)
{
    luaL_newmetatable(L, lock_type);
    lua_pushcfunction(L, l_lock_release);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    lua_pushcfunction(L, l_lock_release);
    lua_setfield(L, -2, "release");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

int luaopen_host_fs(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"absolute", l_absolute}, {"append", l_append}, {"copy", l_copy},
        {"chdir", l_chdir},       {"cwd", l_cwd},       {"exists", l_exists},
        {"list", l_list},         {"lock", l_lock},     {"mkdir", l_mkdir},
        {"read", l_read},         {"real", l_real},     {"remove", l_remove},
        {"rename", l_rename},     {"stat", l_stat},     {"symlink", l_symlink},
        {"temp_dir", l_temp_dir}, {"write", l_write},   {NULL, NULL},
    };
    make_lock_type(L);
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
