#pragma once
/* What the files of host.postgres share. */
#include <libpq-fe.h>

#include "base/err.h"
#include "loop/task.h"

#define POSTGRES_CONNECTION "dgrun.postgres"

struct connection {
    PGconn *handle; /* NULL: closed */
    bool busy;
    bool read_only;
};

struct watch;

/* One wait for a connection's socket; first in the struct of the operation. */
struct pg_wait {
    struct op op;
    uv_loop_t *loop;
    struct connection *connection;
    struct watch *watch;
    void (*step)(struct pg_wait *w); /* the socket is ready */
    struct err *error;
    bool broken; /* the connection is of no more use */
    lua_State *L;
    int box; /* registry reference of the connection while this wait needs it */
};

/* Takes the connection's box from the top of the stack. */
void postgres_wait_init(struct pg_wait *w, lua_State *L, struct connection *c);
void postgres_wait_fini(struct pg_wait *w);
bool postgres_watch(struct pg_wait *w, int events); /* until the next step */
void postgres_done(struct pg_wait *w); /* also closes what is broken or cancelled */
int postgres_push_error(struct pg_wait *w, lua_State *L);
void postgres_close(struct connection *c);
char *postgres_line(const char *message); /* on one line; mem_free */

/* connect{url=, read_only=} → connection | nil, err. In a plan always read_only. */
int postgres_connect(lua_State *L);

/* connection:query(sql [, parameters]) → rows | nil, err: name → text, NULL is absent */
int postgres_query(lua_State *L);

/* Pushes the rows as a list of tables; returns 1. */
int postgres_push_rows(lua_State *L, const PGresult *result);
