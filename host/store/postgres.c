/* host.postgres: libpq on the loop. The wait for a connection's socket comes first. A
   wait that is cancelled closes the connection: otherwise what the server still sends
   would be read as the response to the next query. */
#include <lauxlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/modules.h"
#include "secret/secret.h"
#include "store/postgres_own.h"

enum { ROWS_LIMIT = 1000 * 1000 };

struct watch {
    uv_poll_t poll;
    struct pg_wait *wait; /* NULL: no wait needs the socket any longer */
};

void postgres_wait_init(struct pg_wait *w, lua_State *L, struct connection *c)
{
    w->loop = task_loop(L);
    w->connection = c;
    w->L = L;
    w->box = luaL_ref(L, LUA_REGISTRYINDEX);
    c->busy = true;
}

void postgres_wait_fini(struct pg_wait *w)
{
    luaL_unref(w->L, LUA_REGISTRYINDEX, w->box);
    err_free(w->error);
}

static void on_watch_closed(uv_handle_t *handle) { mem_free(handle->data); }

static void unwatch(struct pg_wait *w)
{
    if (!w->watch)
        return;
    w->watch->wait = NULL;
    uv_poll_stop(&w->watch->poll);
    uv_close((uv_handle_t *)&w->watch->poll, on_watch_closed);
    w->watch = NULL;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    const struct watch *watch = poll->data;
    if (watch->wait)
        watch->wait->step(watch->wait);
}

/* libpq may change sockets while it connects, so each wait makes a new poll. */
bool postgres_watch(struct pg_wait *w, int events)
{
    unwatch(w);
    struct watch *watch = mem_alloc(sizeof *watch);
    if (uv_poll_init(w->loop, &watch->poll, PQsocket(w->connection->handle)) != 0) {
        mem_free(watch);
        return false;
    }
    watch->poll.data = watch;
    watch->wait = w;
    w->watch = watch;
    return uv_poll_start(&watch->poll, events, on_poll) == 0;
}

void postgres_close(struct connection *c)
{
    PQfinish(c->handle);
    c->handle = NULL;
}

void postgres_done(struct pg_wait *w)
{
    unwatch(w);
    w->connection->busy = false;
    if (w->broken || w->op.cancelled)
        postgres_close(w->connection);
    op_done(&w->op);
}

int postgres_push_error(struct pg_wait *w, lua_State *L)
{
    struct err *e = w->error;
    w->error = NULL;
    return err_return(L, e);
}

char *postgres_line(const char *message)
{
    char *text = mem_string(message);
    for (size_t len = strlen(text); len && strchr(" \n", text[len - 1]); len--)
        text[len - 1] = '\0';
    for (char *c = text; *c; c++)
        if (*c == '\n')
            *c = ' ';
    return text;
}

int postgres_push_rows(lua_State *L, const PGresult *result)
{
    int rows = PQntuples(result);
    int columns = PQnfields(result);
    if (rows > ROWS_LIMIT)
        return err_return(
            L, err_new("postgres.too_large", "postgres.query", "too many rows"));
    lua_createtable(L, rows, 0);
    for (int i = 0; i < rows; i++) {
        lua_createtable(L, 0, columns);
        for (int j = 0; j < columns; j++) {
            if (PQgetisnull(result, i, j))
                continue;
            lua_pushlstring(L, PQgetvalue(result, i, j),
                            (size_t)PQgetlength(result, i, j));
            lua_setfield(L, -2, PQfname(result, j));
        }
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int fail_scram(lua_State *L, const char *reason)
{
    return err_return(L, err_new("postgres.failed", "postgres.scram",
                                 "the password cannot be hashed: %s", reason));
}

/* connection:scram(role, password) → the hash that stands for the password in CREATE ROLE
   or ALTER ROLE, so that it is in no statement and in no log of the server; or nil, err.
   https://www.postgresql.org/docs/15/libpq-misc.html#LIBPQ-PQENCRYPTPASSWORDCONN */
static int l_scram(lua_State *L)
{
    struct connection *c = luaL_checkudata(L, 1, POSTGRES_CONNECTION);
    const char *role = luaL_checkstring(L, 2);
    size_t len = 0;
    const char *password = secret_bytes(L, 3, &len);
    if (!password || len == 0 || memchr(password, 0, len))
        return err_argument(L, "postgres.scram",
                            "needs a password: a string or a sealed value");
    if (!c->handle || c->busy)
        return fail_scram(L, c->handle ? "another task waits for the connection"
                                       : "the connection is closed");
    char *hash = PQencryptPasswordConn(c->handle, password, role, "scram-sha-256");
    if (!hash)
        return fail_scram(L, PQerrorMessage(c->handle));
    lua_pushstring(L, hash);
    PQfreemem(hash);
    return 1;
}

static int l_close(lua_State *L)
{
    struct connection *c = luaL_checkudata(L, 1, POSTGRES_CONNECTION);
    if (c->busy)
        return luaL_error(L, "another task waits for this connection");
    postgres_close(c);
    return 0;
}

static int l_gc(lua_State *L)
{
    postgres_close(luaL_checkudata(L, 1, POSTGRES_CONNECTION));
    return 0;
}

int luaopen_host_postgres(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"query", postgres_query},
        {"scram", l_scram},
        {"close", l_close},
        {NULL, NULL},
    };
    static const luaL_Reg funcs[] = {
        {"connect", postgres_connect},
        {NULL, NULL},
    };
    luaL_newmetatable(L, POSTGRES_CONNECTION);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
