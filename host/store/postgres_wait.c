/* Waiting for the socket of a connection. A wait that is cancelled closes the connection:
   what the server still sends for it must not be read as the next answer. */
#include "store/postgres_own.h"

#include <lauxlib.h>
#include <string.h>

#include "base/mem.h"

struct watch {
    uv_poll_t poll;
    struct pg_wait *wait; /* NULL when it is no longer wanted */
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

/* libpq may change sockets while it connects, so the poll is made anew each time. */
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
