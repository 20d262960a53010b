/* host.postgres: libpq on the loop. Looking up the host may block, so a connection begins
   on a thread of the pool; from there on its socket is polled. A wait that is cancelled
   closes the connection, and does not wait for a thread.
   https://www.postgresql.org/docs/15/libpq-async.html */
#include <lauxlib.h>
#include <libpq-fe.h>
#include <string.h>

#include "err.h"
#include "gate.h"
#include "mem.h"
#include "opt.h"
#include "secret.h"
#include "task.h"

#define CONNECTION "dgrun.postgres"

enum { ROWS_LIMIT = 1000 * 1000 };

struct watch {
    uv_poll_t poll;
    struct pg_wait *wait; /* NULL when it is no longer wanted */
};

struct connection {
    PGconn *handle;
    bool busy;
};

/* What a thread does to begin a connection. It may outlive who waits for it. */
struct start {
    uv_work_t work;
    struct pg_wait *wait; /* NULL when it is no longer wanted */
    struct secret *url;
    bool read_only;
    PGconn *handle;
};

struct pg_wait {
    struct op op;
    uv_loop_t *loop;
    struct connection *connection;
    struct watch *watch;
    struct start *start; /* NULL once the thread is done, and for a query */
    PGresult *result;
    struct err *error;
    int box; /* registry reference of the connection while this wait needs it */
    lua_State *L;
};

static void finish(struct connection *c)
{
    PQfinish(c->handle);
    c->handle = NULL;
}

static char *reason_of(const PGconn *handle)
{
    char *text = mem_string(handle ? PQerrorMessage(handle) : "no memory");
    for (size_t len = strlen(text); len && strchr(" \n", text[len - 1]); len--)
        text[len - 1] = '\0';
    for (char *c = text; *c; c++)
        if (*c == '\n')
            *c = ' ';
    return text;
}

static struct err *connect_error(const PGconn *handle)
{
    char *reason = reason_of(handle);
    struct err *e = err_new("postgres.connect", "postgres.connect",
                            "cannot connect to PostgreSQL: %s", reason);
    err_hint(e, "Is the database up, and is DATABASE_URL the one of this environment?");
    mem_free(reason);
    return e;
}

/* The poll of a socket; libpq may change sockets while it connects, so it is made anew.
 */

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

static bool watch(struct pg_wait *w, int events, uv_poll_cb callback)
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
    return uv_poll_start(&watch->poll, events, callback) == 0;
}

static void done(struct pg_wait *w)
{
    unwatch(w);
    w->connection->busy = false;
    if (w->error || w->op.cancelled)
        finish(w->connection);
    op_done(&w->op);
}

/* Connecting */

static void on_connect_poll(uv_poll_t *poll, int status, int events);

static void connect_step(struct pg_wait *w)
{
    switch (PQconnectPoll(w->connection->handle)) {
    case PGRES_POLLING_READING:
        if (watch(w, UV_READABLE, on_connect_poll))
            return;
        break;
    case PGRES_POLLING_WRITING:
        if (watch(w, UV_WRITABLE, on_connect_poll))
            return;
        break;
    case PGRES_POLLING_OK:
        PQsetnonblocking(w->connection->handle, 1);
        done(w);
        return;
    default:
        break;
    }
    w->error = connect_error(w->connection->handle);
    done(w);
}

static void on_connect_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct watch *watch = poll->data;
    if (watch->wait)
        connect_step(watch->wait);
}

static void on_work(uv_work_t *work)
{
    struct start *s = work->data;
    const char *names[] = {"dbname", s->read_only ? "options" : NULL, NULL};
    const char *values[] = {secret_open(s->url, NULL),
                            "-c default_transaction_read_only=on", NULL};
    s->handle = PQconnectStartParams(names, values, 1);
}

static void on_started(uv_work_t *work, int status)
{
    (void)status;
    struct start *s = work->data;
    struct pg_wait *w = s->wait;
    PGconn *handle = s->handle;
    secret_unref(s->url);
    mem_free(s);
    if (!w) {
        PQfinish(handle);
        return;
    }
    w->start = NULL;
    w->connection->handle = handle;
    if (!handle || PQstatus(handle) == CONNECTION_BAD ||
        !watch(w, UV_WRITABLE, on_connect_poll)) {
        w->error = connect_error(handle);
        done(w);
    }
}

static void connect_cancel(struct op *op)
{
    struct pg_wait *w = (struct pg_wait *)op;
    if (w->start) {
        w->start->wait = NULL;
        uv_cancel((uv_req_t *)&w->start->work);
    }
    done(w);
}

static int connect_push(struct op *op, lua_State *L)
{
    struct pg_wait *w = (struct pg_wait *)op;
    if (op->cancelled)
        return err_return(L, err_cancelled("postgres.connect"));
    if (w->error) {
        struct err *e = w->error;
        w->error = NULL;
        return err_return(L, e);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->box);
    return 1;
}

static void wait_destroy(struct op *op)
{
    struct pg_wait *w = (struct pg_wait *)op;
    luaL_unref(w->L, LUA_REGISTRYINDEX, w->box);
    PQclear(w->result);
    err_free(w->error);
    mem_free(w);
}

static struct pg_wait *new_wait(lua_State *L, struct connection *c)
{
    struct pg_wait *w = mem_alloc(sizeof *w);
    w->op.destroy = wait_destroy;
    w->loop = task_loop(L);
    w->connection = c;
    w->L = L;
    c->busy = true;
    return w;
}

/* connect{url=, read_only=} → connection | nil, err. In a plan always read_only. */
static int l_connect(lua_State *L)
{
    static const struct opt options[] = {
        {"url", OPT_VALUE, true},
        {"read_only", OPT_BOOLEAN, false},
        {NULL, 0, false},
    };
    op_check(L);
    opt_check(L, 1, "postgres.connect", options);
    if (op_cancelled(L))
        return err_return(L, err_cancelled("postgres.connect"));
    struct connection *c = lua_newuserdata(L, sizeof *c);
    memset(c, 0, sizeof *c);
    luaL_getmetatable(L, CONNECTION);
    lua_setmetatable(L, -2);
    struct pg_wait *w = new_wait(L, c);
    w->op.cancel = connect_cancel;
    w->op.push = connect_push;
    w->box = luaL_ref(L, LUA_REGISTRYINDEX);
    opt_push(L, 1, "url");
    size_t len = 0;
    const char *url = secret_bytes(L, -1, &len);
    struct start *s = w->start = mem_alloc(sizeof *s);
    s->work.data = s;
    s->wait = w;
    s->url = secret_derive("url", url, len);
    s->read_only = gate_closed() || opt_boolean(L, 1, "read_only", false);
    uv_queue_work(w->loop, &s->work, on_work, on_started);
    return op_wait(L, &w->op);
}

/* Queries */

static struct err *query_error(const struct pg_wait *w, const PGresult *result)
{
    char *reason = reason_of(w->connection->handle);
    struct err *e = err_new("postgres.query", "postgres.query", "PostgreSQL: %s", reason);
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (state)
        err_field(e, "sqlstate", state);
    mem_free(reason);
    return e;
}

static void on_query_poll(uv_poll_t *poll, int status, int events);

/* True when the query is over. */
static bool read_results(struct pg_wait *w)
{
    PGconn *handle = w->connection->handle;
    while (!PQisBusy(handle)) {
        PGresult *result = PQgetResult(handle);
        if (!result)
            return true;
        PQclear(w->result);
        w->result = result;
    }
    return false;
}

static void query_step(struct pg_wait *w)
{
    PGconn *handle = w->connection->handle;
    int unsent = PQflush(handle);
    bool lost = unsent < 0 || !PQconsumeInput(handle);
    if (lost) {
        w->error = query_error(w, NULL);
        done(w);
    } else if (read_results(w)) {
        done(w);
    } else if (!watch(w, UV_READABLE | (unsent ? UV_WRITABLE : 0), on_query_poll)) {
        w->error = query_error(w, NULL);
        done(w);
    }
}

static void on_query_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct watch *watch = poll->data;
    if (watch->wait)
        query_step(watch->wait);
}

/* The server works on, and holds its locks, until it is told: over a connection that is
   made for it, so on a thread. */
struct telling {
    uv_work_t work;
    PGcancel *cancel;
};

static void on_tell(uv_work_t *work)
{
    char reason[256];
    PQcancel(((struct telling *)work->data)->cancel, reason, sizeof reason);
}

static void on_told(uv_work_t *work, int status)
{
    (void)status;
    struct telling *t = work->data;
    PQfreeCancel(t->cancel);
    mem_free(t);
}

static void query_cancel(struct op *op)
{
    struct pg_wait *w = (struct pg_wait *)op;
    PGcancel *cancel = PQgetCancel(w->connection->handle);
    if (cancel) {
        struct telling *t = mem_alloc(sizeof *t);
        t->work.data = t;
        t->cancel = cancel;
        uv_queue_work(w->loop, &t->work, on_tell, on_told);
    }
    done(w);
}

static int query_push(struct op *op, lua_State *L)
{
    struct pg_wait *w = (struct pg_wait *)op;
    if (op->cancelled)
        return err_return(L, err_cancelled("postgres.query"));
    ExecStatusType status = w->result ? PQresultStatus(w->result) : PGRES_FATAL_ERROR;
    if (!w->error && status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        w->error = query_error(w, w->result);
    if (w->error) {
        struct err *e = w->error;
        w->error = NULL;
        return err_return(L, e);
    }
    int rows = PQntuples(w->result);
    int columns = PQnfields(w->result);
    if (rows > ROWS_LIMIT)
        return err_return(
            L, err_new("postgres.too_large", "postgres.query", "too many rows"));
    lua_createtable(L, rows, 0);
    for (int i = 0; i < rows; i++) {
        lua_createtable(L, 0, columns);
        for (int j = 0; j < columns; j++) {
            if (PQgetisnull(w->result, i, j))
                continue;
            lua_pushlstring(L, PQgetvalue(w->result, i, j),
                            (size_t)PQgetlength(w->result, i, j));
            lua_setfield(L, -2, PQfname(w->result, j));
        }
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static const char **read_parameters(lua_State *L, int index, int *count)
{
    *count = 0;
    if (lua_isnoneornil(L, index))
        return NULL;
    luaL_checktype(L, index, LUA_TTABLE);
    *count = (int)lua_objlen(L, index);
    /* Collected by Lua; the strings live in the table. */
    const char **values = lua_newuserdata(L, ((size_t)*count + 1) * sizeof *values);
    for (int i = 0; i < *count; i++) {
        lua_rawgeti(L, index, i + 1);
        values[i] = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        if (!values[i] && !lua_islightuserdata(L, -1))
            err_argument(L, "postgres.query", "parameters are a list of strings");
        lua_pop(L, 1);
    }
    return values;
}

/* connection:query(sql [, parameters]) → rows | nil, err: name → text, NULL is absent */
static int l_query(lua_State *L)
{
    op_check(L);
    struct connection *c = luaL_checkudata(L, 1, CONNECTION);
    const char *sql = luaL_checkstring(L, 2);
    if (!c->handle)
        return luaL_error(L, "the connection is closed");
    if (c->busy)
        return luaL_error(L, "another task waits for this connection");
    int count = 0;
    const char **values = read_parameters(L, 3, &count);
    if (op_cancelled(L))
        return err_return(L, err_cancelled("postgres.query"));
    struct pg_wait *w = new_wait(L, c);
    w->op.cancel = query_cancel;
    w->op.push = query_push;
    lua_pushvalue(L, 1);
    w->box = luaL_ref(L, LUA_REGISTRYINDEX);
    if (PQsendQueryParams(c->handle, sql, count, NULL, values, NULL, NULL, 0)) {
        query_step(w);
    } else {
        w->error = query_error(w, NULL);
        done(w);
    }
    return op_wait(L, &w->op);
}

static int l_close(lua_State *L)
{
    struct connection *c = luaL_checkudata(L, 1, CONNECTION);
    if (c->busy)
        return luaL_error(L, "another task waits for this connection");
    finish(c);
    return 0;
}

static int l_gc(lua_State *L)
{
    finish(luaL_checkudata(L, 1, CONNECTION));
    return 0;
}

int luaopen_host_postgres(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"query", l_query},
        {"close", l_close},
        {NULL, NULL},
    };
    static const luaL_Reg funcs[] = {
        {"connect", l_connect},
        {NULL, NULL},
    };
    luaL_newmetatable(L, CONNECTION);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
