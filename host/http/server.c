/* host.server: a small HTTP server on the loop, for the sandbox. libmicrohttpd runs
   without threads: its epoll descriptor is polled by the loop, its timeout is a timer. A
   request is suspended until Lua answers it.
   https://www.gnu.org/software/libmicrohttpd/manual/libmicrohttpd.html#microhttpd_002dsuspend
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <lauxlib.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"
#include "loop/task.h"
#include "secret/log.h"

#define SERVER "dgrun.server"
#define REQUEST "dgrun.server.request"

enum { DEFAULT_BODY_LIMIT = 16 * 1024 * 1024, IDLE_SECONDS = 120 };

struct pair {
    struct pair *next;
    char *name, *value;
};

struct request {
    struct server *server;
    struct request *next; /* waits to be accepted */
    struct request *prev_live, *next_live;
    struct MHD_Connection *connection; /* NULL when the client has gone */
    char *method, *path;
    struct pair *headers, *query;
    struct buf body;
    struct MHD_Response *response;
    unsigned status;
    bool boxed, suspended, queued, parked, answered, reset, too_large;
};

struct accept {
    struct op op;
    struct server *server;
    struct request *request;
};

struct server {
    struct MHD_Daemon *daemon;
    struct sched *sched;
    uv_poll_t poll;
    uv_timer_t timer;
    struct request *waiting, **waiting_end;
    struct request *live;
    struct accept *accept;
    size_t body_limit;
    int port;
    unsigned handles;
    bool closed, boxed;
};

/* Requests */

static void free_pairs(struct pair *p)
{
    while (p) {
        struct pair *next = p->next;
        mem_free(p->name);
        mem_wipe(p->value, strlen(p->value));
        mem_free(p->value);
        mem_free(p);
        p = next;
    }
}

/* A request lives as long as its connection or its Lua box. */
static void release(struct request *r)
{
    if (r->connection || r->boxed || r->queued)
        return;
    if (r->prev_live)
        r->prev_live->next_live = r->next_live;
    else if (r->server->live == r)
        r->server->live = r->next_live;
    if (r->next_live)
        r->next_live->prev_live = r->prev_live;
    if (r->response)
        MHD_destroy_response(r->response);
    free_pairs(r->headers);
    free_pairs(r->query);
    buf_fini_wiped(&r->body);
    mem_free(r->method);
    mem_free(r->path);
    mem_free(r);
}

static struct request *first_waiting(struct server *s)
{
    struct request *r = s->waiting;
    if (!r)
        return NULL;
    s->waiting = r->next;
    if (!s->waiting)
        s->waiting_end = &s->waiting;
    r->queued = false;
    return r;
}

/* A task has the request in hand from here until it answers, or the client is gone. */
static void park(struct request *r, bool parked)
{
    if (r->parked != parked)
        task_park(r->server->sched, parked ? 1 : -1);
    r->parked = parked;
}

static void offer(struct server *s)
{
    struct accept *a = s->accept;
    if (!a || !s->waiting)
        return;
    a->request = first_waiting(s);
    a->request->boxed = true;
    park(a->request, true);
    s->accept = NULL;
    op_done(&a->op);
}

/* Callbacks of libmicrohttpd */

static enum MHD_Result on_pair(void *list, enum MHD_ValueKind kind, const char *name,
                               const char *value)
{
    (void)kind;
    struct pair **end = list;
    while (*end)
        end = &(*end)->next;
    struct pair *p = mem_alloc(sizeof *p);
    p->name = mem_string(name);
    p->value = mem_string(value ? value : "");
    *end = p;
    return MHD_YES;
}

/* Disconnecting a socket (AF_UNSPEC) sends RST. SO_LINGER alone is not enough:
   libmicrohttpd 1.0 calls shutdown() before close(), and a FIN is an empty answer, after
   which libcurl asks again by itself. */
static void send_reset(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
    if (info && connect(info->connect_fd, &unspecified, sizeof unspecified) != 0)
        log_debug("event=reset error=%d", errno);
}

static enum MHD_Result answer(struct request *r)
{
    if (r->reset) {
        send_reset(r->connection);
        return MHD_NO;
    }
    return MHD_queue_response(r->connection, r->status, r->response);
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection,
                                  const char *url, const char *method,
                                  const char *version, const char *upload,
                                  size_t *upload_len, void **state)
{
    (void)version;
    struct server *s = data;
    struct request *r = *state;
    if (!r) {
        r = mem_alloc(sizeof *r);
        r->server = s;
        r->connection = connection;
        r->method = mem_string(method);
        r->path = mem_string(url);
        r->next_live = s->live;
        if (s->live)
            s->live->prev_live = r;
        s->live = r;
        *state = r;
        MHD_get_connection_values(connection, MHD_HEADER_KIND, on_pair, &r->headers);
        MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, on_pair, &r->query);
        return MHD_YES;
    }
    if (*upload_len) {
        if (r->body.len + *upload_len > s->body_limit)
            r->too_large = true;
        else
            buf_add(&r->body, upload, *upload_len);
        *upload_len = 0;
        return MHD_YES;
    }
    if (r->answered || s->closed)
        return r->answered ? answer(r) : MHD_NO;
    if (r->too_large) {
        static char text[] = "{\"error\":\"the body is too large\"}";
        r->response = MHD_create_response_from_buffer(sizeof text - 1, text,
                                                      MHD_RESPMEM_PERSISTENT);
        r->status = 413;
        r->answered = true;
        return answer(r);
    }
    if (r->suspended)
        return MHD_YES;
    r->suspended = true;
    MHD_suspend_connection(connection);
    r->queued = true;
    *s->waiting_end = r;
    s->waiting_end = &r->next;
    offer(s);
    return MHD_YES;
}

static void on_completed(void *data, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode how)
{
    (void)data;
    (void)connection;
    (void)how;
    struct request *r = *state;
    *state = NULL;
    if (!r)
        return;
    r->connection = NULL;
    park(r, false);
    release(r);
}

/* The loop */

static void run(struct server *s);

static void on_timer(uv_timer_t *timer) { run(timer->data); }

static void schedule(struct server *s)
{
    MHD_UNSIGNED_LONG_LONG milliseconds = 0;
    if (MHD_get_timeout(s->daemon, &milliseconds) == MHD_YES)
        uv_timer_start(&s->timer, on_timer, milliseconds, 0);
    else
        uv_timer_stop(&s->timer);
}

static void run(struct server *s)
{
    MHD_run(s->daemon);
    if (!s->closed)
        schedule(s);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

/* Not called from inside libmicrohttpd: its turn comes with the next turn of the loop. */
static void wake(struct server *s) { uv_timer_start(&s->timer, on_timer, 0, 0); }

static void finish(struct request *r)
{
    r->answered = true;
    park(r, false);
    if (r->connection && r->suspended) {
        MHD_resume_connection(r->connection);
        wake(r->server);
    }
}

static void free_when_let_go(struct server *s)
{
    if (s->handles == 0 && !s->boxed && !s->live)
        mem_free(s);
}

static void on_closed(uv_handle_t *handle)
{
    struct server *s = handle->data;
    s->handles--;
    free_when_let_go(s);
}

static void close_server(struct server *s)
{
    if (s->closed)
        return;
    s->closed = true;
    if (s->accept) {
        struct accept *a = s->accept;
        s->accept = NULL;
        op_done(&a->op);
    }
    while (s->waiting)
        release(first_waiting(s));
    for (struct request *r = s->live, *next; r; r = next) {
        next = r->next_live;
        if (r->connection && r->suspended && !r->answered) {
            r->reset = r->answered = true;
            park(r, false);
            MHD_resume_connection(r->connection);
        }
    }
    MHD_run(s->daemon);
    uv_poll_stop(&s->poll);
    MHD_stop_daemon(s->daemon);
    uv_close((uv_handle_t *)&s->poll, on_closed);
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

/* Lua */

struct box {
    struct server *server;
};

static struct server *check_server(lua_State *L)
{
    struct box *b = luaL_checkudata(L, 1, SERVER);
    return b->server;
}

/* listen{address=, port=, body_limit=} → server | nil, err */
static int l_listen(lua_State *L)
{
    static const struct opt options[] = {
        {"address", OPT_STRING, false},
        {"port", OPT_INTEGER, false},
        {"body_limit", OPT_INTEGER, false},
        {NULL, 0, false},
    };
    opt_check(L, 1, "server.listen", options);
    const char *address = opt_string(L, 1, "address", "127.0.0.1");
    long long port = opt_integer(L, 1, "port", 0);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (port > 65535 || inet_pton(AF_INET, address, &where.sin_addr) != 1)
        return err_argument(L, "server.listen", "%s:%lld is not an address with a port",
                            address, port);
    struct box *b = lua_newuserdata(L, sizeof *b);
    b->server = NULL;
    luaL_getmetatable(L, SERVER);
    lua_setmetatable(L, -2);

    struct server *s = mem_alloc(sizeof *s);
    s->waiting_end = &s->waiting;
    s->sched = task_sched(L);
    s->body_limit = (size_t)opt_integer(L, 1, "body_limit", DEFAULT_BODY_LIMIT);
    s->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, (uint16_t)port,
                                 NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR,
                                 (struct sockaddr *)&where, MHD_OPTION_NOTIFY_COMPLETED,
                                 on_completed, NULL, MHD_OPTION_CONNECTION_TIMEOUT,
                                 (unsigned)IDLE_SECONDS, MHD_OPTION_END);
    if (!s->daemon) {
        mem_free(s);
        struct err *e = err_new("server.listen", "server.listen",
                                "cannot listen on %s:%lld", address, port);
        err_hint(e, "Is the port in use? Port 0 selects a free port.");
        return err_return(L, e);
    }
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    s->port = info ? info->port : (int)port;
    info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    uv_loop_t *loop = task_loop(L);
    uv_poll_init(loop, &s->poll, info->epoll_fd);
    uv_timer_init(loop, &s->timer);
    s->poll.data = s->timer.data = s;
    s->handles = 2;
    uv_poll_start(&s->poll, UV_READABLE, on_poll);
    b->server = s;
    s->boxed = true;
    return 1;
}

static int l_port(lua_State *L)
{
    lua_pushinteger(L, check_server(L)->port);
    return 1;
}

static int l_close(lua_State *L)
{
    close_server(check_server(L));
    return 0;
}

static int l_gc_server(lua_State *L)
{
    struct server *s = check_server(L);
    if (!s)
        return 0;
    close_server(s);
    s->boxed = false;
    free_when_let_go(s);
    return 0;
}

static void push_pairs(lua_State *L, const struct pair *p, bool lower)
{
    lua_newtable(L);
    for (; p; p = p->next) {
        char *name = mem_string(p->name);
        for (char *c = name; lower && *c; c++)
            *c = (char)tolower((unsigned char)*c);
        lua_getfield(L, -1, name);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushstring(L, p->value);
        } else if (lua_istable(L, -1)) {
            lua_pushstring(L, p->value);
            lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
        } else {
            lua_createtable(L, 2, 0);
            lua_insert(L, -2);
            lua_rawseti(L, -2, 1);
            lua_pushstring(L, p->value);
            lua_rawseti(L, -2, 2);
        }
        lua_setfield(L, -2, name);
        mem_free(name);
    }
}

static int accept_push(struct op *op, lua_State *L)
{
    struct accept *a = (struct accept *)op;
    struct request *r = a->request;
    if (!r)
        return err_return(L, op->cancelled ? err_cancelled("server.accept")
                                           : err_new("closed", "server.accept",
                                                     "the server was closed"));
    struct request **box = lua_newuserdata(L, sizeof(struct request *));
    *box = r;
    luaL_getmetatable(L, REQUEST);
    lua_setmetatable(L, -2);
    lua_createtable(L, 0, 5);
    lua_pushstring(L, r->method);
    lua_setfield(L, -2, "method");
    lua_pushstring(L, r->path);
    lua_setfield(L, -2, "path");
    push_pairs(L, r->query, false);
    lua_setfield(L, -2, "query");
    push_pairs(L, r->headers, true);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, buf_text(&r->body), r->body.len);
    lua_setfield(L, -2, "body");
    lua_setfenv(L, -2);
    return 1;
}

static void accept_cancel(struct op *op)
{
    ((struct accept *)op)->server->accept = NULL;
    op_done(op);
}

static void accept_destroy(struct op *op) { mem_free(op); }

/* server:accept() → request | nil, {code = "closed"} */
static int l_accept(lua_State *L)
{
    op_check(L);
    struct server *s = check_server(L);
    if (s->accept)
        return luaL_error(L, "another task is already waiting for requests");
    struct accept *a = mem_alloc(sizeof *a);
    a->op = (struct op){.source = OP_INSIDE,
                        .cancel = accept_cancel,
                        .push = accept_push,
                        .destroy = accept_destroy};
    a->server = s;
    if (s->closed) {
        op_done(&a->op);
    } else {
        s->accept = a;
        offer(s);
    }
    return op_wait(L, &a->op);
}

static struct request *check_request(lua_State *L)
{
    return *(struct request **)luaL_checkudata(L, 1, REQUEST);
}

static struct request *check_open(lua_State *L)
{
    struct request *r = check_request(L);
    if (r->answered)
        luaL_error(L, "the request was already answered");
    return r;
}

/* A body that ends too early: its length is announced with what is missing of it. */
struct cut {
    size_t len;
    char bytes[];
};

static ssize_t read_cut(void *data, uint64_t at, char *out, size_t max)
{
    struct cut *c = data;
    if (at >= c->len)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = c->len - (size_t)at;
    if (n > max)
        n = max;
    memcpy(out, c->bytes + at, n);
    return (ssize_t)n;
}

static void free_cut(void *data) { mem_free(data); }

static struct MHD_Response *cut_response(const char *body, size_t len, size_t missing)
{
    struct cut *c = mem_alloc(sizeof *c + len);
    c->len = len;
    memcpy(c->bytes, body, len);
    return MHD_create_response_from_callback(len + missing, 4096, read_cut, c, free_cut);
}

/* request:reply{status=, headers=, body=, missing=} */
static int l_reply(lua_State *L)
{
    static const struct opt options[] = {
        {"status", OPT_INTEGER, true},
        {"headers", OPT_TABLE, false},
        {"body", OPT_BYTES, false},
        {"missing", OPT_INTEGER, false},
        {NULL, 0, false},
    };
    struct request *r = check_open(L);
    opt_check(L, 2, "server.reply", options);
    size_t len = 0;
    const char *body = opt_bytes(L, 2, "body", &len);
    long long missing = opt_integer(L, 2, "missing", 0);
    r->response = missing > 0
                      ? cut_response(body ? body : "", len, (size_t)missing)
                      : MHD_create_response_from_buffer(len, (void *)(body ? body : ""),
                                                        MHD_RESPMEM_MUST_COPY);
    if (!r->response)
        return luaL_error(L, "out of memory for a response");
    r->status = (unsigned)opt_integer(L, 2, "status", 200);
    if (opt_push(L, 2, "headers")) {
        lua_pushnil(L);
        while (lua_next(L, -2)) {
            if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING ||
                MHD_add_response_header(r->response, lua_tostring(L, -2),
                                        lua_tostring(L, -1)) != MHD_YES)
                return err_argument(L, "server.reply",
                                    "a header must be a single line of text");
            lua_pop(L, 1);
        }
    }
    finish(r);
    return 0;
}

/* request:abort(): the connection is reset, without an answer */
static int l_abort(lua_State *L)
{
    struct request *r = check_open(L);
    r->reset = true;
    finish(r);
    return 0;
}

static int l_gc_request(lua_State *L)
{
    struct request *r = check_request(L);
    struct server *s = r->server;
    if (!r->answered && !s->closed) {
        r->reset = true;
        finish(r);
    }
    r->boxed = false;
    release(r);
    if (s->closed)
        free_when_let_go(s);
    return 0;
}

/* Methods first, then what was sent: request.method, request.body, … */
static int l_index_request(lua_State *L)
{
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1))
        return 1;
    lua_getfenv(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
}

int luaopen_host_server(lua_State *L)
{
    static const luaL_Reg server_methods[] = {
        {"port", l_port},
        {"accept", l_accept},
        {"close", l_close},
        {NULL, NULL},
    };
    static const luaL_Reg request_methods[] = {
        {"reply", l_reply},
        {"abort", l_abort},
        {NULL, NULL},
    };
    static const luaL_Reg funcs[] = {
        {"listen", l_listen},
        {NULL, NULL},
    };
    luaL_newmetatable(L, SERVER);
    lua_newtable(L);
    luaL_setfuncs(L, server_methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_gc_server);
    lua_setfield(L, -2, "__gc");

    luaL_newmetatable(L, REQUEST);
    lua_newtable(L);
    luaL_setfuncs(L, request_methods, 0);
    lua_pushcclosure(L, l_index_request, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_gc_request);
    lua_setfield(L, -2, "__gc");

    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
