/* Queries. On a read-only connection each one is a transaction of its own: the connection
   may belong to a pooler, which gives every transaction another session, so a setting of
   the session holds nothing. https://www.postgresql.org/docs/15/libpq-async.html */
#include "store/postgres_own.h"

#include <lauxlib.h>
#include <string.h>

#include "base/mem.h"

enum phase { PHASE_BEGIN, PHASE_QUERY, PHASE_END };

struct querying {
    struct pg_wait wait;
    enum phase phase;
    char *sql;
    char **values;
    int count;
    PGresult *latest; /* of the phase */
    PGresult *result; /* of the query */
};

static bool starts_with(const char *text, const char *start)
{
    return text && strncmp(text, start, strlen(start)) == 0;
}

/* 08: connection exception; 57P01 to 57P03: the server shuts down or starts. After FATAL
   the server ends the session whatever the state says. */
static bool tells_lost(const struct querying *q, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (!state)
        return PQstatus(q->wait.connection->handle) == CONNECTION_BAD;
    return starts_with(state, "08") || starts_with(state, "57P01") ||
           starts_with(state, "57P02") || starts_with(state, "57P03") ||
           starts_with(severity, "FATAL") || starts_with(severity, "PANIC");
}

/* The first failure counts; what follows is its consequence. */
static void fail(struct querying *q, const PGresult *result, const char *message)
{
    bool lost = tells_lost(q, result);
    q->wait.broken = q->wait.broken || lost;
    if (q->wait.error)
        return;
    char *reason = postgres_line(message);
    struct err *e = err_new(
        lost ? "postgres.lost" : "postgres.query", "postgres.query",
        lost ? "the connection to PostgreSQL was lost: %s" : "PostgreSQL: %s", reason);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state)
        err_field(e, "sqlstate", state);
    mem_free(reason);
    q->wait.error = e;
}

static void judge(struct querying *q, const PGresult *result)
{
    const char *message = PQresultErrorMessage(result);
    switch (result ? PQresultStatus(result) : PGRES_FATAL_ERROR) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        return;
    case PGRES_EMPTY_QUERY:
        fail(q, result, "the query is empty");
        return;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        /* Its data would have to be moved before anything else can be asked. */
        fail(q, result, "COPY from or to the client is not supported");
        q->wait.broken = true;
        return;
    default:
        fail(q, result, *message ? message : PQerrorMessage(q->wait.connection->handle));
    }
}

static bool is_copy(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
           status == PGRES_COPY_BOTH;
}

/* True when the phase is over. On a connection that broke, PQgetResult does not wait. */
static bool read_results(struct querying *q)
{
    PGconn *handle = q->wait.connection->handle;
    while (!PQisBusy(handle) || PQstatus(handle) == CONNECTION_BAD) {
        PGresult *result = PQgetResult(handle);
        if (!result)
            return true;
        if (q->latest && PQresultStatus(q->latest) == PGRES_FATAL_ERROR) {
            PQclear(result);
            continue;
        }
        PQclear(q->latest);
        q->latest = result;
        if (is_copy(result))
            return true;
    }
    return false;
}

static bool send_phase(struct querying *q)
{
    PGconn *handle = q->wait.connection->handle;
    if (q->phase == PHASE_BEGIN)
        return PQsendQuery(handle, "BEGIN READ ONLY");
    if (q->phase == PHASE_END)
        return PQsendQuery(handle, q->wait.error ? "ROLLBACK" : "COMMIT");
    return PQsendQueryParams(handle, q->sql, q->count, NULL,
                             (const char *const *)q->values, NULL, NULL, 0);
}

/* Takes in what the phase gave; true when another one follows. */
static bool next_phase(struct querying *q)
{
    judge(q, q->latest);
    if (q->phase == PHASE_QUERY) {
        q->result = q->latest;
        q->latest = NULL;
    }
    PQclear(q->latest);
    q->latest = NULL;
    if (!q->wait.connection->read_only || q->wait.broken || q->phase == PHASE_END)
        return false;
    if (q->phase == PHASE_BEGIN && q->wait.error)
        return false;
    q->phase++;
    return true;
}

static void done(struct querying *q)
{
    const struct connection *c = q->wait.connection;
    if (c->read_only && PQtransactionStatus(c->handle) != PQTRANS_IDLE)
        q->wait.broken = true;
    postgres_done(&q->wait);
}

static void start_phase(struct querying *q);

static void step(struct pg_wait *w)
{
    struct querying *q = (struct querying *)w;
    PGconn *handle = w->connection->handle;
    int unsent = PQflush(handle);
    bool working = unsent >= 0 && PQconsumeInput(handle);
    if (read_results(q)) {
        if (next_phase(q))
            start_phase(q);
        else
            done(q);
    } else if (!working || !postgres_watch(w, UV_READABLE | (unsent ? UV_WRITABLE : 0))) {
        fail(q, NULL, PQerrorMessage(handle));
        w->broken = true;
        done(q);
    }
}

static void start_phase(struct querying *q)
{
    if (send_phase(q)) {
        step(&q->wait);
    } else {
        fail(q, NULL, PQerrorMessage(q->wait.connection->handle));
        done(q);
    }
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

static void cancel(struct op *op)
{
    struct pg_wait *w = (struct pg_wait *)op;
    PGcancel *cancel = PQgetCancel(w->connection->handle);
    if (cancel) {
        struct telling *t = mem_alloc(sizeof *t);
        t->work.data = t;
        t->cancel = cancel;
        uv_queue_work(w->loop, &t->work, on_tell, on_told);
    }
    postgres_done(w);
}

static int push(struct op *op, lua_State *L)
{
    struct querying *q = (struct querying *)op;
    if (op->cancelled)
        return err_return(L, err_cancelled("postgres.query"));
    if (q->wait.error)
        return postgres_push_error(&q->wait, L);
    return postgres_push_rows(L, q->result);
}

static void destroy(struct op *op)
{
    struct querying *q = (struct querying *)op;
    postgres_wait_fini(&q->wait);
    PQclear(q->latest);
    PQclear(q->result);
    for (int i = 0; i < q->count; i++)
        mem_free(q->values[i]);
    mem_free(q->values);
    mem_free(q->sql);
    mem_free(q);
}

static int check_parameters(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return 0;
    luaL_checktype(L, index, LUA_TTABLE);
    int count = (int)lua_objlen(L, index);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, index, i);
        size_t len = 0;
        const char *text =
            lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
        if (text ? strlen(text) != len : !lua_islightuserdata(L, -1))
            err_argument(L, "postgres.query",
                         "parameters are a list of strings without NUL bytes");
        lua_pop(L, 1);
    }
    return count;
}

/* Copies: the table may change before a later phase sends them. */
static char **copy_parameters(lua_State *L, int index, int count)
{
    char **values = mem_array((size_t)count + 1, sizeof *values);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, index, i + 1);
        values[i] = mem_string(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    return values;
}

int postgres_query(lua_State *L)
{
    op_check(L);
    struct connection *c = luaL_checkudata(L, 1, POSTGRES_CONNECTION);
    size_t len = 0;
    const char *sql = luaL_checklstring(L, 2, &len);
    if (strlen(sql) != len)
        return err_argument(L, "postgres.query", "the query has a NUL byte");
    int count = check_parameters(L, 3);
    if (!c->handle)
        return luaL_error(L, "the connection is closed");
    if (c->busy)
        return luaL_error(L, "another task waits for this connection");
    if (op_cancelled(L))
        return err_return(L, err_cancelled("postgres.query"));
    struct querying *q = mem_alloc(sizeof *q);
    q->sql = mem_string(sql);
    q->count = count;
    q->values = copy_parameters(L, 3, count);
    q->phase = c->read_only ? PHASE_BEGIN : PHASE_QUERY;
    lua_pushvalue(L, 1);
    postgres_wait_init(&q->wait, L, c);
    q->wait.op.cancel = cancel;
    q->wait.op.push = push;
    q->wait.op.destroy = destroy;
    q->wait.step = step;
    start_phase(q);
    return op_wait(L, &q->wait.op);
}
