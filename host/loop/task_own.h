#pragma once
/* What the scheduler (task.c) and its Lua face (task_lua.c) share. */
#include <signal.h>

#include "loop/clock.h"
#include "loop/task.h"

#define TASK_BOX "dgrun.task"

/* Waits for the end of another task; its mechanism is that task. */
struct join {
    struct op op;
    struct task *target;
    struct join *next;
};

struct task {
    struct sched *sched;
    lua_State *co;
    char *name;
    struct op *op;      /* what it waits for */
    struct join *joins; /* who waits for it */
    struct task *next_ready;
    struct task *prev, *next; /* all that live */
    int box;                  /* registry reference */
    unsigned pins;
    unsigned shields;
    unsigned cancelled_waits;
    int results;
    bool daemon, cancelled, finished, failed, abandoned;
};

struct hook {
    struct hook *next;
    void (*close)(void *data);
    void *data;
};

struct sched {
    lua_State *L;
    uv_loop_t loop;
    struct task *current;
    struct task *ready, **ready_end;
    struct task *tasks;
    unsigned live, daemons;
    struct hook *hooks;
    struct clock *clock;
    unsigned waits[OP_INSIDE + 1]; /* tasks that wait, by what ends their operation */
    unsigned parked;   /* requests that servers of this process have in hand */
    uv_async_t wakeup; /* a signal came */
    volatile sig_atomic_t signal;
    bool polling; /* inside uv_run */
};

/* Takes a function and its arguments from the top of L; leaves the box. */
struct task *task_spawn(lua_State *L, int nargs, const char *name, bool daemon);
void task_cancel(struct task *t);

/* False in a task that is cancelled and not shielded; who asks too often is abandoned. */
bool task_check(lua_State *L);

/* Takes the function from the top of L that an abandoned task goes on with: it gets the
   error, and raises it in the end. */
void task_on_abandoned(lua_State *L);

/* The box of a task, and with it its results, stays while somebody has it pinned. */
void task_pin(lua_State *L, int index); /* a box at `index` */
void task_unpin(struct task *t);
void task_push_box(lua_State *L, const struct task *t);

/* Handles that keep the loop waiting. */
unsigned task_busy_handles(lua_State *L);

/* Creates the metatable of boxes. */
void task_create_type(lua_State *L);
