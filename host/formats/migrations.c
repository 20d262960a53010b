/* host.migrations: Alembic revision files as tables. The graph over them is Lua. */
#include <lauxlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"
#include "formats/migrations_scan.h"
#include "loop/fs.h"

static void push_strings(lua_State *L, const struct strings *s, const char *name)
{
    lua_createtable(L, (int)s->count, 0);
    for (unsigned i = 0; i < s->count; i++) {
        lua_pushstring(L, s->items[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, name);
}

enum { GRAPH_FIELDS = 3 }; /* what the graph adds to a revision: no table grows twice */

/* A revision, or false where the file declares none. */
static void push_revision(lua_State *L, const struct revision *r, const char *file)
{
    if (!r->id) {
        lua_pushboolean(L, 0);
        return;
    }
    lua_createtable(L, 0, 7 + GRAPH_FIELDS);
    lua_pushstring(L, r->id);
    lua_setfield(L, -2, "revision");
    lua_pushstring(L, r->message ? r->message : "");
    lua_setfield(L, -2, "message");
    lua_pushinteger(L, (lua_Integer)r->line);
    lua_setfield(L, -2, "line");
    lua_pushstring(L, file);
    lua_setfield(L, -2, "file");
    push_strings(L, &r->down, "down");
    push_strings(L, &r->labels, "labels");
    push_strings(L, &r->depends_on, "depends_on");
}

/* scan(text, file) → {revision, down, labels, depends_on, message, file, line} | false |
   nil, err: false where the text declares no revision */
static int l_scan(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *file = luaL_checkstring(L, 2);
    struct revision r;
    struct err *error = revision_scan(&r, text, len, file);
    if (error)
        return err_return(L, error);
    push_revision(L, &r, file);
    revision_fini(&r);
    return 1;
}

/* Appends what a file declares to the list on the top of the stack. */
static struct err *add_file(lua_State *L, const char *folder, const char *name,
                            size_t limit, struct buf *text, int at)
{
    char *file = mem_format("%s/%s", folder, name);
    struct revision r;
    buf_reset(text);
    struct err *error = fs_read("migrations.read", file, limit, text);
    if (!error)
        error = revision_scan(&r, buf_text(text), text->len, file);
    if (!error) {
        push_revision(L, &r, file);
        revision_fini(&r);
        lua_rawseti(L, -2, at);
    }
    mem_free(file);
    return error;
}

/* read{folder=, names=, limit=} → a list of what scan returns, one for each name |
   nil, err. At once, since there may be thousands. */
static int l_read(lua_State *L)
{
    static const struct opt options[] = {{"folder", OPT_STRING, true},
                                         {"names", OPT_TABLE, true},
                                         {"limit", OPT_INTEGER, true},
                                         {NULL, 0, false}};
    opt_check(L, 1, "migrations.read", options);
    const char *folder = opt_string(L, 1, "folder", NULL);
    size_t limit = (size_t)opt_integer(L, 1, "limit", 0);
    char **names = opt_strings(L, 1, "names", "migrations.read");
    struct buf text;
    struct err *error = NULL;
    buf_init(&text);
    lua_newtable(L);
    for (int i = 0; names[i] && !error; i++)
        error = add_file(L, folder, names[i], limit, &text, i + 1);
    buf_fini(&text);
    opt_strings_free(names);
    return error ? err_return(L, error) : 1;
}

int luaopen_host_migrations(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"read", l_read},
        {"scan", l_scan},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
