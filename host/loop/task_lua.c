/* host.task: tasks as Lua sees them. */
#include <lauxlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "loop/task_own.h"

static struct task *check_task(lua_State *L) { return luaL_checkudata(L, 1, TASK_BOX); }

/* Join: an operation whose mechanism is the end of another task. */

static void join_cancel(struct op *op)
{
    struct join *j = (struct join *)op;
    struct join **link = &j->target->joins;
    while (*link != j)
        link = &(*link)->next;
    *link = j->next;
    op_done(op);
}

static int join_push(struct op *op, lua_State *L)
{
    struct task *t = ((struct join *)op)->target;
    if (!t->finished) {
        lua_pushnil(L);
        err_push(L, err_cancelled("task.join"));
        return 2;
    }
    luaL_checkstack(L, t->results + 3, "results of a task");
    task_push_box(L, t);
    lua_getfenv(L, -1);
    lua_replace(L, -2);
    int table = lua_gettop(L);
    if (t->failed)
        lua_pushnil(L);
    else
        lua_pushboolean(L, 1);
    for (int i = 1; i <= t->results; i++)
        lua_rawgeti(L, table, i);
    lua_remove(L, table);
    return t->results + 1;
}

static void join_destroy(struct op *op)
{
    task_unpin(((struct join *)op)->target);
    mem_free(op);
}

/* task:join() → true, results… | nil, err */
static int l_join(lua_State *L)
{
    op_check(L);
    struct task *t = check_task(L);
    if (t == t->sched->current)
        return luaL_error(L, "a task cannot wait for itself");
    struct join *j = mem_alloc(sizeof *j);
    j->op = (struct op){.source = OP_INSIDE,
                        .cancel = join_cancel,
                        .push = join_push,
                        .destroy = join_destroy};
    j->target = t;
    task_pin(L, 1);
    if (t->finished) {
        op_done(&j->op);
    } else {
        j->next = t->joins;
        t->joins = j;
    }
    return op_wait(L, &j->op);
}

/* spawn(fn [, {name=, daemon=}]) → task */
static int l_spawn(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    const char *name = "task";
    bool daemon = false;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lua_getfield(L, 2, "daemon");
        daemon = lua_toboolean(L, -1);
        lua_getfield(L, 2, "name");
        name = luaL_optstring(L, -1, name);
    }
    lua_pushvalue(L, 1);
    task_spawn(L, 0, name, daemon);
    return 1;
}

static int l_cancel(lua_State *L)
{
    task_cancel(check_task(L));
    return 0;
}

static int l_status(lua_State *L)
{
    struct task *t = check_task(L);
    lua_pushstring(L, !t->finished ? "running" : t->failed ? "failed" : "done");
    return 1;
}

static int l_name(lua_State *L)
{
    lua_pushstring(L, check_task(L)->name);
    return 1;
}

static int l_gc(lua_State *L)
{
    struct task *t = check_task(L);
    mem_free(t->name);
    t->name = NULL;
    return 0;
}

static int l_current(lua_State *L)
{
    struct task *t = task_sched(L)->current;
    if (!t)
        return 0;
    task_push_box(L, t);
    return 1;
}

/* shield(on): while shielded, a cancel does not reach the task's waits. */
static int l_shield(lua_State *L)
{
    struct task *t = task_sched(L)->current;
    if (!t)
        return luaL_error(L, "no task is running");
    if (lua_toboolean(L, 1))
        t->shields++;
    else if (t->shields)
        t->shields--;
    return 0;
}

/* check() → true | nil, err: was this task cancelled? */
static int l_check(lua_State *L)
{
    if (!task_check(L))
        return err_return(L, err_cancelled("task.check"));
    lua_pushboolean(L, 1);
    return 1;
}

static int l_signal(lua_State *L)
{
    int signal = task_sched(L)->signal;
    if (!signal)
        return 0;
    lua_pushinteger(L, signal);
    return 1;
}

/* stats() → {tasks, daemons, handles}: what lives, for tests that prove absence. */
static int l_stats(lua_State *L)
{
    struct sched *s = task_sched(L);
    unsigned handles = task_busy_handles(L);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, s->live - s->daemons);
    lua_setfield(L, -2, "tasks");
    lua_pushinteger(L, s->daemons);
    lua_setfield(L, -2, "daemons");
    lua_pushinteger(L, handles);
    lua_setfield(L, -2, "handles");
    return 1;
}

/* on_abandoned(function(err)): what a task goes on with that would not end */
static int l_on_abandoned(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    task_on_abandoned(L);
    return 0;
}

/* Where nobody sees to what it leaves, it just ends. */
static int l_end(lua_State *L) { return lua_error(L); }

void task_create_type(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"join", l_join}, {"cancel", l_cancel}, {"status", l_status},
        {"name", l_name}, {NULL, NULL},
    };
    luaL_newmetatable(L, TASK_BOX);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_end);
    task_on_abandoned(L);
}

int luaopen_host_task(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"spawn", l_spawn},
        {"current", l_current},
        {"shield", l_shield},
        {"check", l_check},
        {"signal", l_signal},
        {"stats", l_stats},
        {"on_abandoned", l_on_abandoned},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
