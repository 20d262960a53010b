/* Tasks and operations. lua_resume and lua_yield stand once each in the program, here.

   A task's struct is the memory of its Lua box. One registry reference pins the box while
   the task lives, and while somebody who joined has not taken the results; the box's
   environment table holds the coroutine, later the results. */

#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "loop/task_own.h"
#include "secret/log.h"

/* A cancelled task whose waits all fail may loop for ever on one. After so many of them
   they raise; who catches that too, so many times more, is abandoned. */
enum { CANCELLED_WAITS_LIMIT = 1000 };

/* How long work on a thread may hold up the end: a lookup of a name cannot be stopped. */
enum { LAST_WORK_MS = 2000 };

static const char sched_key = 0;
static const char abandoned_key = 0;

struct sched *task_sched(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&sched_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    struct sched *s = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return s;
}

uv_loop_t *task_loop(lua_State *L) { return &task_sched(L)->loop; }

struct clock *task_clock(lua_State *L) { return task_sched(L)->clock; }

void task_park(struct sched *s, int change)
{
    s->parked = (unsigned)((int)s->parked + change);
}

void task_at_exit(lua_State *L, void (*close)(void *data), void *data)
{
    struct sched *s = task_sched(L);
    struct hook *h = mem_alloc(sizeof *h);
    *h = (struct hook){.next = s->hooks, .close = close, .data = data};
    s->hooks = h;
}

static void make_ready(struct task *t)
{
    struct sched *s = t->sched;
    t->next_ready = NULL;
    *s->ready_end = t;
    s->ready_end = &t->next_ready;
}

/* Operations */

/* An error can be caught, this cannot: the coroutine yields and is never resumed. Where C
   is on its stack the next instruction tries again. */
static void on_abandon(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct task *t = task_sched(L)->current;
    if (t && t->co == L && lua_isyieldable(L))
        lua_yield(L, 0);
}

static struct err *went_on(const struct task *t)
{
    return err_new("cancelled", "task", "task '%s' kept waiting after it was cancelled",
                   t->name);
}

bool task_check(lua_State *L)
{
    struct task *t = task_sched(L)->current;
    if (!t || !t->cancelled || t->shields)
        return true;
    if (++t->cancelled_waits > 2 * CANCELLED_WAITS_LIMIT) {
        t->abandoned = true;
        lua_sethook(L, on_abandon, LUA_MASKCOUNT, 1);
    }
    return false;
}

void op_check(lua_State *L)
{
    struct sched *s = task_sched(L);
    struct task *t = s->current;
    if (!t)
        luaL_error(L, "cannot wait here: no task is running");
    else if (t->co != L)
        luaL_error(L, "cannot wait inside a raw Lua coroutine; use dgrun.task");
    else if (!lua_isyieldable(L))
        luaL_error(
            L,
            "cannot wait inside a callback, such as that of string.gsub or table.sort");
    else if (!task_check(L) && t->cancelled_waits > CANCELLED_WAITS_LIMIT)
        err_raise(L, went_on(t));
}

bool op_cancelled(lua_State *L)
{
    struct task *t = task_sched(L)->current;
    return t && t->cancelled && !t->shields;
}

static void ask_to_stop(struct op *op)
{
    if (op->done || op->cancelled)
        return;
    op->cancelled = true;
    op->cancel(op);
}

int op_wait(lua_State *L, struct op *op)
{
    struct task *t = task_sched(L)->current;
    assert(t && !t->op);
    op->task = t;
    t->op = op;
    t->sched->waits[op->source]++;
    if (op->done)
        make_ready(t);
    else if (t->cancelled && !t->shields)
        ask_to_stop(op);
    return lua_yield(L, 0);
}

void op_done(struct op *op)
{
    assert(!op->done);
    op->done = true;
    if (!op->task)
        return;
    make_ready(op->task);
    if (op->task->sched->polling)
        uv_stop(&op->task->sched->loop);
}

/* Tasks */

void task_pin(lua_State *L, int index)
{
    struct task *t = lua_touserdata(L, index);
    if (t->pins++ == 0) {
        lua_pushvalue(L, index);
        t->box = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

void task_push_box(lua_State *L, const struct task *t)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->box);
}

void task_unpin(struct task *t)
{
    if (--t->pins == 0) {
        luaL_unref(t->sched->L, LUA_REGISTRYINDEX, t->box);
        t->box = LUA_NOREF;
    }
}

struct task *task_spawn(lua_State *L, int nargs, const char *name, bool daemon)
{
    struct sched *s = task_sched(L);
    struct task *t = lua_newuserdata(L, sizeof *t);
    memset(t, 0, sizeof *t);
    t->box = LUA_NOREF;
    luaL_getmetatable(L, TASK_BOX);
    lua_setmetatable(L, -2);
    lua_createtable(L, 1, 0);
    t->co = lua_newthread(L);
    lua_rawseti(L, -2, 1);
    lua_setfenv(L, -2);
    lua_insert(L, -(nargs + 2));
    lua_xmove(L, t->co, nargs + 1);
    t->sched = s;
    t->name = mem_string(name);
    t->daemon = daemon;
    lua_pushvalue(L, -1);
    t->box = luaL_ref(L, LUA_REGISTRYINDEX);
    t->pins = 1;
    t->next = s->tasks;
    if (s->tasks)
        s->tasks->prev = t;
    s->tasks = t;
    s->live++;
    s->daemons += daemon;
    t->results = nargs;
    make_ready(t);
    log_debug("event=spawn task=%s", t->name);
    return t;
}

/* A string that was raised becomes an error object, with the trace while the stack is
 * there. */
static void wrap_error(struct task *t)
{
    lua_State *L = t->sched->L;
    lua_State *co = t->co;
    if (!lua_isstring(co, -1))
        return;
    luaL_traceback(L, co, NULL, 0);
    struct err *e = err_new("lua.error", t->name, "%s", lua_tostring(co, -1));
    err_field(e, "trace", lua_tostring(L, -1));
    lua_pop(L, 1);
    lua_pop(co, 1);
    err_push(co, e);
}

static void finish(struct task *t, int status)
{
    struct sched *s = t->sched;
    lua_State *L = s->L;
    t->finished = true;
    t->failed = status != 0;
    if (t->failed)
        wrap_error(t);
    t->results = t->failed ? 1 : lua_gettop(t->co);
    log_debug("event=end task=%s failed=%d", t->name, t->failed);

    lua_rawgeti(L, LUA_REGISTRYINDEX, t->box);
    lua_createtable(L, t->results, 0);
    luaL_checkstack(L, t->results + 1, "results of a task");
    lua_xmove(t->co, L, t->results);
    for (int i = t->results; i > 0; i--)
        lua_rawseti(L, -1 - i, i);
    lua_setfenv(L, -2);
    lua_pop(L, 1);
    t->co = NULL;

    if (t->prev)
        t->prev->next = t->next;
    else
        s->tasks = t->next;
    if (t->next)
        t->next->prev = t->prev;
    s->live--;
    s->daemons -= t->daemon;
    while (t->joins) {
        struct join *j = t->joins;
        t->joins = j->next;
        op_done(&j->op);
    }
    task_unpin(t);
}

void task_on_abandoned(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&abandoned_key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* Its children and its deferred cleanup are there still: the task begins anew, shielded,
   with the function that sees to them. */
static void abandon(struct task *t)
{
    lua_State *L = t->sched->L;
    log_debug("event=abandon task=%s", t->name);
    t->abandoned = false;
    t->shields = 1;
    t->cancelled_waits = 0;
    task_push_box(L, t);
    lua_getfenv(L, -1);
    t->co = lua_newthread(L);
    lua_rawseti(L, -2, 1);
    lua_pop(L, 2);
    lua_pushlightuserdata(L, (void *)&abandoned_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    err_push(L, went_on(t));
    lua_xmove(L, t->co, 2);
    t->results = 1;
    make_ready(t);
}

static void resume(struct task *t)
{
    struct sched *s = t->sched;
    int nargs = t->results;
    t->results = 0;
    struct op *op = t->op;
    if (op) {
        t->op = NULL;
        s->waits[op->source]--;
        luaL_checkstack(t->co, LUA_MINSTACK, "results of an operation");
        nargs = op->push(op, t->co);
        op->destroy(op);
    }
    s->current = t;
    int status = lua_resume(t->co, nargs);
    s->current = NULL;
    if (t->abandoned)
        lua_sethook(s->L, NULL, 0, 0);
    if (status == LUA_YIELD && t->op)
        return;
    if (status == LUA_YIELD && t->abandoned) {
        abandon(t);
        return;
    }
    if (status == LUA_YIELD) {
        lua_settop(t->co, 0);
        lua_pushliteral(t->co, "coroutine.yield was called outside a raw Lua coroutine");
    }
    finish(t, status);
}

/* Runs what is ready now. What gets ready by it has to wait for a turn of the loop: tasks
   whose waits all end at once would keep the others out, and signals. */
static void drain(struct sched *s)
{
    struct task *t = s->ready;
    s->ready = NULL;
    s->ready_end = &s->ready;
    while (t) {
        struct task *next = t->next_ready;
        resume(t);
        t = next;
    }
}

/* False when nothing is left that could happen. */
static bool run_loop(struct sched *s, uv_run_mode mode)
{
    s->polling = true;
    bool alive = uv_run(&s->loop, mode) != 0;
    s->polling = false;
    return alive || s->ready;
}

/* Does everything that can happen next come from the clock? A transfer may be waiting for
   a server of this process, which has its request in hand and sleeps. */
static bool may_jump(const struct sched *s)
{
    return clock_paused(s->clock) && !s->ready && !s->signal &&
           s->waits[OP_OUTSIDE] == 0 && s->waits[OP_TRANSFER] <= s->parked;
}

/* Waits for what happens next. A paused clock jumps instead, but only after the loop was
   asked whether something has happened already. */
static bool poll_loop(struct sched *s)
{
    if (s->ready)
        return run_loop(s, UV_RUN_NOWAIT);
    if (may_jump(s)) {
        run_loop(s, UV_RUN_NOWAIT);
        if (!may_jump(s) || clock_jump(s->clock))
            return true;
    }
    return run_loop(s, UV_RUN_ONCE);
}

void task_cancel(struct task *t)
{
    if (t->finished || t->cancelled)
        return;
    t->cancelled = true;
    log_debug("event=cancel task=%s", t->name);
    if (t->op && !t->shields)
        ask_to_stop(t->op);
}

static void cancel_others(struct sched *s, bool daemons)
{
    for (struct task *t = s->tasks, *next; t; t = next) {
        next = t->next;
        if (t->daemon == daemons)
            task_cancel(t);
    }
}

static struct err *deadlock(struct sched *s)
{
    struct buf names;
    buf_init(&names);
    for (struct task *t = s->tasks; t; t = t->next)
        buf_add_format(&names, "%s'%s'", names.len ? ", " : "", t->name);
    struct err *e = err_new("task.deadlock", "task", "deadlock of %u task%s: %s", s->live,
                            s->live == 1 ? "" : "s", buf_text(&names));
    buf_fini(&names);
    return e;
}

bool task_run(lua_State *L, int nargs)
{
    struct sched *s = task_sched(L);
    struct task *root = task_spawn(L, nargs, "main", false);
    root->pins++;
    lua_pop(L, 1);
    bool stuck = false;
    bool ended = false;
    for (;;) {
        if (s->signal)
            task_cancel(root);
        drain(s);
        if (root->finished && !ended) {
            ended = true;
            if (root->failed)
                cancel_others(s, false);
        }
        if (!s->ready && s->live == s->daemons) {
            if (s->live == 0)
                break;
            cancel_others(s, true);
        }
        if (!poll_loop(s)) {
            stuck = true;
            break;
        }
    }
    if (stuck && !root->finished) {
        err_push(L, deadlock(s));
        return false;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, root->box);
    lua_getfenv(L, -1);
    bool good = !root->failed;
    luaL_checkstack(L, root->results + 1, "results of a run");
    int table = lua_gettop(L);
    for (int i = 1; i <= root->results; i++)
        lua_rawgeti(L, table, i);
    lua_remove(L, table);
    lua_remove(L, table - 1);
    task_unpin(root);
    return good;
}

void task_interrupt(struct sched *s, int signal)
{
    s->signal = signal;
    uv_async_send(&s->wakeup);
}

static void on_wakeup(uv_async_t *wakeup) { (void)wakeup; }

void task_open(lua_State *L)
{
    struct sched *s = mem_alloc(sizeof *s);
    s->L = L;
    s->ready_end = &s->ready;
    if (uv_loop_init(&s->loop) != 0 ||
        uv_async_init(&s->loop, &s->wakeup, on_wakeup) != 0)
        luaL_error(L, "cannot create the event loop");
    uv_unref((uv_handle_t *)&s->wakeup);
    s->clock = clock_open(&s->loop);
    if (!s->clock)
        luaL_error(L, "cannot create the event loop");
    lua_pushlightuserdata(L, (void *)&sched_key);
    lua_pushlightuserdata(L, s);
    lua_rawset(L, LUA_REGISTRYINDEX);
    task_create_type(L);
}

static void on_open_handle(uv_handle_t *handle, void *count)
{
    if (uv_is_closing(handle))
        return;
    ++*(unsigned *)count;
    log_debug("event=open_handle type=%s", uv_handle_type_name(handle->type));
}

struct sched *task_close_hooks(lua_State *L)
{
    struct sched *s = task_sched(L);
    while (s->hooks) {
        struct hook *h = s->hooks;
        s->hooks = h->next;
        h->close(h->data);
        mem_free(h);
    }
    clock_close(s->clock);
    uv_close((uv_handle_t *)&s->wakeup, NULL);
    return s;
}

static void on_busy_handle(uv_handle_t *handle, void *count)
{
    if (uv_is_active(handle) && uv_has_ref(handle))
        ++*(unsigned *)count;
}

unsigned task_busy_handles(lua_State *L)
{
    unsigned count = 0;
    uv_walk(&task_sched(L)->loop, on_busy_handle, &count);
    return count;
}

static void on_impatience(uv_timer_t *timer) { uv_stop(timer->loop); }

/* Work on threads may hold the loop. */
static bool loop_closes(uv_loop_t *loop)
{
    if (uv_loop_close(loop) == 0)
        return true;
    uv_timer_t patience;
    uv_timer_init(loop, &patience);
    uv_timer_start(&patience, on_impatience, LAST_WORK_MS, 0);
    uv_unref((uv_handle_t *)&patience);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&patience, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    return uv_loop_close(loop) == 0;
}

struct task_left task_close_loop(struct sched *s)
{
    struct task_left left = {0};
    uv_walk(&s->loop, on_open_handle, &left.handles);
    if (left.handles)
        return left;
    left.work = !loop_closes(&s->loop);
    if (!left.work)
        mem_free(s);
    return left;
}
