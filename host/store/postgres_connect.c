/* Connecting. Looking up the host may block, so a connection begins on a thread of the
   pool; from there on its socket is polled.
   https://www.postgresql.org/docs/15/libpq-connect.html */
#include "store/postgres_own.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/opt.h"
#include "secret/gate.h"
#include "secret/log.h"
#include "secret/secret.h"

enum { CONNECT_SECONDS = 10, CONNECT_SECONDS_LIMIT = 24 * 60 * 60 };

struct connecting;

struct deadline {
    uv_timer_t timer;
    struct connecting *owner;
    int seconds;
};

/* What a thread does to begin a connection. It may outlive who waits for it. */
struct start {
    uv_work_t work;
    struct connecting *owner; /* NULL: the operation has ended */
    struct secret *url;
    PGconn *handle;
};

struct connecting {
    struct pg_wait wait;
    struct start *start; /* NULL once the thread is done */
    struct deadline *deadline;
};

static void on_deadline_closed(uv_handle_t *handle) { mem_free(handle->data); }

static void done(struct connecting *c)
{
    if (c->deadline)
        uv_close((uv_handle_t *)&c->deadline->timer, on_deadline_closed);
    c->deadline = NULL;
    postgres_done(&c->wait);
}

static void fail(struct connecting *c, const char *message)
{
    char *reason = postgres_line(message);
    struct err *e = err_new("postgres.connect", "postgres.connect",
                            "cannot connect to PostgreSQL: %s", reason);
    err_hint(e, "Is the database up, and is DATABASE_URL the one of this environment?");
    mem_free(reason);
    c->wait.error = e;
    c->wait.broken = true;
    done(c);
}

static void on_deadline(uv_timer_t *timer)
{
    const struct deadline *d = timer->data;
    const char *host = PQhost(d->owner->wait.connection->handle);
    char *message = mem_format("%s did not answer within %d s",
                               host && *host ? host : "the server", d->seconds);
    fail(d->owner, message);
    mem_free(message);
}

/* connect_timeout of the URL or the environment; 0: none. PQconnectPoll leaves keeping it
   to its caller. */
static int seconds_of(PGconn *handle)
{
    long seconds = CONNECT_SECONDS;
    PQconninfoOption *all = PQconninfo(handle);
    for (PQconninfoOption *o = all; o && o->keyword; o++) {
        if (!o->val)
            continue;
        if (strcmp(o->keyword, "connect_timeout") == 0 && *o->val)
            seconds = strtol(o->val, NULL, 10);
        mem_wipe(o->val, strlen(o->val));
    }
    PQconninfoFree(all);
    if (seconds < 0)
        return 0;
    return seconds < CONNECT_SECONDS_LIMIT ? (int)seconds : CONNECT_SECONDS_LIMIT;
}

static void start_deadline(struct connecting *c)
{
    int seconds = seconds_of(c->wait.connection->handle);
    if (!seconds)
        return;
    struct deadline *d = mem_alloc(sizeof *d);
    d->owner = c;
    d->seconds = seconds;
    d->timer.data = d;
    c->deadline = d;
    uv_timer_init(c->wait.loop, &d->timer);
    uv_timer_start(&d->timer, on_deadline, (uint64_t)seconds * 1000, 0);
}

/* libpq's own default is to write them to stderr. */
static void on_notice(void *data, const char *message)
{
    (void)data;
    log_debug("event=notice from=postgres text=\"%.*s\"", (int)strcspn(message, "\n"),
              message);
}

static void step(struct pg_wait *w)
{
    struct connecting *c = (struct connecting *)w;
    PGconn *handle = w->connection->handle;
    int events = 0;
    switch (PQconnectPoll(handle)) {
    case PGRES_POLLING_READING:
        events = UV_READABLE;
        break;
    case PGRES_POLLING_WRITING:
        events = UV_WRITABLE;
        break;
    case PGRES_POLLING_OK:
        PQsetnonblocking(handle, 1);
        done(c);
        return;
    default:
        break;
    }
    if (!events || !postgres_watch(w, events))
        fail(c, PQerrorMessage(handle));
}

/* What the URL says comes later and so wins. No `options`: a pooler in transaction mode
   refuses them. */
static void on_work(uv_work_t *work)
{
    struct start *s = work->data;
    static const char *const names[] = {
        "keepalives_idle",  "keepalives_interval",
        "keepalives_count", "tcp_user_timeout",
        "dbname",           NULL,
    };
    const char *values[] = {
        "30", "10", "3", "60000", secret_open(s->url, NULL), NULL,
    };
    s->handle = PQconnectStartParams(names, values, 1);
}

static void on_started(uv_work_t *work, int status)
{
    (void)status;
    struct start *s = work->data;
    struct connecting *c = s->owner;
    PGconn *handle = s->handle;
    secret_unref(s->url);
    mem_free(s);
    if (!c) {
        PQfinish(handle);
        return;
    }
    c->start = NULL;
    c->wait.connection->handle = handle;
    if (!handle || PQstatus(handle) == CONNECTION_BAD) {
        fail(c, handle ? PQerrorMessage(handle) : "no memory");
        return;
    }
    PQsetNoticeProcessor(handle, on_notice, NULL);
    start_deadline(c);
    if (!postgres_watch(&c->wait, UV_WRITABLE))
        fail(c, PQerrorMessage(handle));
}

/* A lookup cannot be stopped: its thread is left alone, and nobody waits for it. */
static void cancel(struct op *op)
{
    struct connecting *c = (struct connecting *)op;
    if (c->start) {
        c->start->owner = NULL;
        uv_cancel((uv_req_t *)&c->start->work);
    }
    done(c);
}

static int push(struct op *op, lua_State *L)
{
    struct pg_wait *w = (struct pg_wait *)op;
    if (op->cancelled)
        return err_return(L, err_cancelled("postgres.connect"));
    if (w->error)
        return postgres_push_error(w, L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->box);
    return 1;
}

static void destroy(struct op *op)
{
    struct connecting *c = (struct connecting *)op;
    postgres_wait_fini(&c->wait);
    mem_free(c);
}

int postgres_connect(lua_State *L)
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
    struct connection *connection = lua_newuserdata(L, sizeof *connection);
    memset(connection, 0, sizeof *connection);
    luaL_getmetatable(L, POSTGRES_CONNECTION);
    lua_setmetatable(L, -2);
    connection->read_only = gate_closed() || opt_boolean(L, 1, "read_only", false);
    struct connecting *c = mem_alloc(sizeof *c);
    postgres_wait_init(&c->wait, L, connection);
    c->wait.op.cancel = cancel;
    c->wait.op.push = push;
    c->wait.op.destroy = destroy;
    c->wait.step = step;
    opt_push(L, 1, "url");
    size_t len = 0;
    const char *url = secret_bytes(L, -1, &len);
    struct start *s = c->start = mem_alloc(sizeof *s);
    s->work.data = s;
    s->owner = c;
    s->url = secret_derive("url", url, len);
    uv_queue_work(c->wait.loop, &s->work, on_work, on_started);
    return op_wait(L, &c->wait.op);
}
