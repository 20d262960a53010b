/* A child read by lines while it runs: the box host.proc.spawn gives to Lua. Lines wait
   in a queue; while it is full the pipes are not read, so that a child that talks faster
   than the script listens has to wait too.

   Each wait on the child is a small operation in one list. The struct lives until Lua has
   let go of the box, no operation waits, and the process is closed. */
#include <lauxlib.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/lines.h"
#include "base/mem.h"
#include "loop/task.h"
#include "proc/proc.h"

#define TYPE "host.proc.child"
#define QUEUE_FULL ((size_t)1 << 20)
#define QUEUE_LOW ((size_t)256 << 10)

struct child {
    struct proc *proc; /* NULL once closed */
    int pid;
    int status;
    int signal;
    double seconds;
    struct err *error; /* of a time limit */
    bool exited;
    bool boxed;     /* Lua still has it */
    unsigned users; /* operations that refer to it */
    struct lines lines;
    unsigned open; /* streams that may bring more */
    struct waiter *waiters;
};

enum wait_for { WAIT_LINE, WAIT_EXIT, WAIT_CLOSED };

struct waiter {
    struct op op;
    struct child *child;
    struct waiter *next;
    enum wait_for what;
    struct line *line;
};

/* Frees the child when nobody knows it any more; ends it when only the process does. */
static void child_drop(struct child *c)
{
    if (c->boxed || c->users > 0)
        return;
    if (c->proc) {
        proc_stop(c->proc, PROC_STOPPED);
        proc_forget_output(c->proc);
        return;
    }
    lines_fini(&c->lines);
    err_free(c->error);
    mem_free(c);
}

static struct line *line_take(struct child *c)
{
    struct line *l = lines_take(&c->lines);
    if (c->proc && c->lines.queued < QUEUE_LOW)
        proc_pause(c->proc, false);
    return l;
}

/* Is what this waiter waits for there? Takes the line. */
static bool served(struct waiter *w)
{
    struct child *c = w->child;
    switch (w->what) {
    case WAIT_LINE:
        w->line = line_take(c);
        return w->line || c->open == 0;
    case WAIT_EXIT:
        return c->exited;
    case WAIT_CLOSED:
        return !c->proc;
    }
    return true;
}

static void child_wake(struct child *c)
{
    struct waiter **link = &c->waiters;
    while (*link) {
        struct waiter *w = *link;
        if (served(w)) {
            *link = w->next;
            op_done(&w->op);
        } else {
            link = &w->next;
        }
    }
}

static void on_data(void *owner, enum proc_stream stream, const char *bytes, size_t len)
{
    struct child *c = owner;
    if (proc_stopped(c->proc) && c->lines.queued >= QUEUE_FULL)
        return; /* it is on its way out and nobody keeps up: its last words are lost */
    lines_feed(&c->lines, stream, bytes, len);
    if (c->lines.queued >= QUEUE_FULL)
        proc_pause(c->proc, true);
    child_wake(c);
}

static void on_ended(void *owner, enum proc_stream stream)
{
    struct child *c = owner;
    lines_end(&c->lines, stream);
    c->open--;
    child_wake(c);
}

static void on_exited(void *owner)
{
    struct child *c = owner;
    c->exited = true;
    c->status = proc_status(c->proc);
    c->signal = proc_term_signal(c->proc);
    c->seconds = proc_seconds(c->proc);
    if (proc_stopped(c->proc) == PROC_TIMEOUT)
        c->error = proc_stop_error(c->proc);
    child_wake(c);
}

static void on_closed(void *owner)
{
    struct child *c = owner;
    c->proc = NULL;
    child_wake(c);
    child_drop(c);
}

static void waiter_cancel(struct op *op)
{
    struct waiter *w = (struct waiter *)op;
    struct waiter **link = &w->child->waiters;
    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    op_done(op);
}

static int line_push(lua_State *L, const struct line *l)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, l->stream == PROC_STDOUT ? "stdout" : "stderr");
    lua_setfield(L, -2, "stream");
    lua_pushlstring(L, l->bytes, l->len);
    lua_setfield(L, -2, "line");
    if (l->cut) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "cut");
    }
    return 1;
}

static int end_push(lua_State *L, const struct child *c)
{
    if (c->error) { /* each who waits gets one of his own */
        struct err *e =
            err_new(err_code(c->error), "child:wait", "%s", err_msg(c->error));
        err_field_int(e, "status", c->status);
        return err_return(L, e);
    }
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, c->status);
    lua_setfield(L, -2, "status");
    if (c->signal) {
        lua_pushinteger(L, c->signal);
        lua_setfield(L, -2, "signal");
    }
    lua_pushnumber(L, c->seconds);
    lua_setfield(L, -2, "seconds");
    return 1;
}

static int waiter_push(struct op *op, lua_State *L)
{
    struct waiter *w = (struct waiter *)op;
    if (w->line)
        return line_push(L, w->line);
    if (w->what == WAIT_LINE && w->child->open == 0)
        return 0;
    if (w->what != WAIT_LINE && w->child->exited)
        return end_push(L, w->child);
    return err_return(L,
                      err_cancelled(w->what == WAIT_LINE ? "child:read" : "child:wait"));
}

static void waiter_destroy(struct op *op)
{
    struct waiter *w = (struct waiter *)op;
    struct child *c = w->child;
    mem_free(w->line);
    mem_free(w);
    c->users--;
    child_drop(c);
}

/* Waiting until a child's input pipe has taken some bytes. */
struct feed {
    struct op op;
    struct proc *proc; /* NULL once the bytes are written, or cannot be */
    struct buf bytes;
    int status;
};

static void on_written(void *data, int status)
{
    struct feed *f = data;
    f->proc = NULL;
    f->status = status;
    op_done(&f->op);
}

/* What is half written cannot be taken back: the pipe is closed, which ends the write. */
static void feed_cancel(struct op *op) { proc_close_input(((struct feed *)op)->proc); }

static int feed_push(struct op *op, lua_State *L)
{
    struct feed *f = (struct feed *)op;
    if (f->status < 0 && op->cancelled)
        return err_return(L, err_cancelled("child:write"));
    if (f->status < 0)
        return err_return(L, err_new("proc.closed", "child:write",
                                     "child:write: the child does not read its input: %s",
                                     uv_strerror(f->status)));
    lua_pushboolean(L, 1);
    return 1;
}

static void feed_destroy(struct op *op)
{
    struct feed *f = (struct feed *)op;
    buf_fini_wiped(&f->bytes);
    mem_free(f);
}

static int write_wait(lua_State *L, struct proc *p, const char *bytes, size_t len)
{
    if (op_cancelled(L))
        return err_return(L, err_cancelled("child:write"));
    struct feed *f = mem_alloc(sizeof *f);
    f->op.cancel = feed_cancel;
    f->op.push = feed_push;
    f->op.destroy = feed_destroy;
    f->proc = p;
    buf_init(&f->bytes);
    buf_add(&f->bytes, bytes, len);
    if (p)
        proc_write(p, buf_text(&f->bytes), len, on_written, f);
    else
        on_written(f, UV_EPIPE);
    return op_wait(L, &f->op);
}

static struct child *child_check(lua_State *L)
{
    struct child **box = luaL_checkudata(L, 1, TYPE);
    return *box;
}

static int wait_on(lua_State *L, struct child *c, enum wait_for what)
{
    struct waiter *w = mem_alloc(sizeof *w);
    w->op.cancel = waiter_cancel;
    w->op.push = waiter_push;
    w->op.destroy = waiter_destroy;
    w->child = c;
    c->users++;
    w->what = what;
    if (served(w)) {
        op_done(&w->op);
        return op_wait(L, &w->op);
    }
    struct waiter **link = &c->waiters;
    while (*link)
        link = &(*link)->next;
    *link = w;
    return op_wait(L, &w->op);
}

/* child:read() → {stream, line, cut} | nil at the end of both */
static int l_read(lua_State *L)
{
    op_check(L);
    struct child *c = child_check(L);
    if (op_cancelled(L))
        return err_return(L, err_cancelled("child:read"));
    return wait_on(L, c, WAIT_LINE);
}

/* child:wait() → {status, signal, seconds}: when it has exited, its output read or not */
static int l_wait(lua_State *L)
{
    op_check(L);
    return wait_on(L, child_check(L), WAIT_EXIT);
}

/* child:stop() → the same: asks the group to end, makes it end, and waits until all is
 * closed */
static int l_stop(lua_State *L)
{
    op_check(L);
    struct child *c = child_check(L);
    if (c->proc)
        proc_stop(c->proc, PROC_STOPPED);
    return wait_on(L, c, WAIT_CLOSED);
}

/* child:kill(name): a signal to its group; true | nil, err */
static int l_kill(lua_State *L)
{
    struct child *c = child_check(L);
    const char *name = luaL_optstring(L, 2, "TERM");
    int number = proc_signal_number(name);
    if (!number)
        return err_argument(L, "child:kill",
                            "child:kill: '%s' is not the name of a signal", name);
    int rc = c->proc ? proc_signal(c->proc, number) : UV_ESRCH;
    if (rc < 0) {
        const char *why = rc == UV_ESRCH ? "it has ended" : uv_strerror(rc);
        return err_return(L, err_new("proc.failed", "child:kill",
                                     "child:kill: cannot signal process %d: %s", c->pid,
                                     why));
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* child:write(string or sealed value) → true | nil, err: when the pipe has taken it all
 */
static int l_write(lua_State *L)
{
    op_check(L);
    struct child *c = child_check(L);
    size_t len = 0;
    const char *bytes = secret_bytes(L, 2, &len);
    if (!bytes)
        return err_argument(L, "child:write",
                            "child:write: a string or a sealed value is needed");
    return write_wait(L, c->proc, bytes, len);
}

static int l_close_stdin(lua_State *L)
{
    struct child *c = child_check(L);
    if (c->proc)
        proc_close_input(c->proc);
    return 0;
}

static int l_pid(lua_State *L)
{
    lua_pushinteger(L, child_check(L)->pid);
    return 1;
}

static int l_gc(lua_State *L)
{
    struct child **box = lua_touserdata(L, 1);
    struct child *c = *box;
    *box = NULL;
    if (!c)
        return 0;
    c->boxed = false;
    child_drop(c);
    return 0;
}

static int l_tostring(lua_State *L)
{
    struct child *c = child_check(L);
    lua_pushfstring(L, "child (pid %d, %s)", c->pid, c->exited ? "ended" : "running");
    return 1;
}

/* spawn{…} → child | nil, err */
int l_proc_spawn(lua_State *L)
{
    static const struct proc_events events = {
        .data = on_data, .ended = on_ended, .exited = on_exited, .closed = on_closed};
    struct proc_setup *setup = proc_options(L, 1, "proc.spawn", PROC_LINES);
    struct child **box = lua_newuserdata(L, sizeof(void *));
    *box = NULL;
    luaL_setmetatable(L, TYPE);
    struct child *c = mem_alloc(sizeof *c);
    c->open = 2;
    lines_init(&c->lines);
    struct err *e = proc_start(L, setup, &events, c, &c->proc);
    if (e) {
        mem_free(c);
        return err_return(L, e);
    }
    c->pid = proc_pid(c->proc);
    c->boxed = true;
    *box = c;
    return 1;
}

void proc_child_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"read", l_read}, {"wait", l_wait},   {"stop", l_stop},
        {"kill", l_kill}, {"write", l_write}, {"close_stdin", l_close_stdin},
        {"pid", l_pid},   {"__gc", l_gc},     {"__tostring", l_tostring},
        {NULL, NULL},
    };
    luaL_newmetatable(L, TYPE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
