#pragma once
/* Tasks and operations: the bridge between Lua, libuv and libcurl.

   A task is a coroutine that reads as if every call blocked. Everything it can wait
   for is an operation: embed `struct op` first in the mechanism's own struct.
   The invariant: an operation has one owner at a time, the mechanism until it calls
   op_done, then the scheduler, which pushes the results, destroys it and resumes the
   task.

   A waiting binding has one shape:
     op_check(L)  →  read and check all arguments (anything wrong raises)
     →  if (op_cancelled(L)) return err_return(L, err_cancelled("x.y"));   (where starting
   costs) →  allocate  →  start  →  return op_wait(L, &x->op);

   Where the mechanism failed to start, it may call op_done before op_wait returns: the
   results are then pushed by the scheduler as always. */
#include <lua.h>
#include <stdbool.h>
#include <uv.h>

struct task;
struct sched;

/* What ends an operation. */
enum op_source {
    OP_OUTSIDE,  /* a child, a query, a thread: something that the process cannot hurry */
    OP_TRANSFER, /* a peer, which may be a server of this process (see task_park) */
    OP_INSIDE,   /* the clock, another task, or a request that nobody may send */
};

struct op {
    struct task *task; /* who waits; set by op_wait */
    enum op_source source;
    bool done;                     /* op_done was called */
    bool cancelled;                /* cancel was asked for */
    void (*cancel)(struct op *op); /* ask the mechanism to stop; op_done still follows.
                                      Called at most once, never after op_done. */
    int (*push)(struct op *op,
                lua_State *L);      /* leave results, return how many; must not raise */
    void (*destroy)(struct op *op); /* free it; the mechanism no longer knows it */
};

void op_check(lua_State *L);     /* raises unless L may wait here */
bool op_cancelled(lua_State *L); /* the calling task is cancelled and not shielded */
int op_wait(lua_State *L, struct op *op); /* the last line of a waiting binding */
void op_done(struct op *op); /* from a loop callback, exactly once; runs no Lua */

uv_loop_t *task_loop(lua_State *L);
struct clock *task_clock(lua_State *L);

/* A server of this process has `change` more requests in hand: each holds up one transfer
   until a task of this process answers. So a paused clock may jump while a client waits
   for a handler that sleeps. */
void task_park(struct sched *s, int change);

/* Called once at shutdown, after the last task, before the state closes: close handles
   here. In reverse order of registration. */
void task_at_exit(lua_State *L, void (*close)(void *data), void *data);

/* For vm.c: create and end the scheduler of a state. Hooks run before lua_close, the loop
   is closed after it, and what somebody left is returned. */
struct task_left {
    unsigned handles; /* open; the debug log names them */
    bool work;        /* a thread works on, and would hold up exit() */
};
void task_open(lua_State *L);
struct sched *task_close_hooks(lua_State *L);
struct task_left task_close_loop(struct sched *s);

/* Runs the function on top of the stack (with `nargs` arguments above it) as the root
   task until no task but daemons lives, then cancels those. Returns true and leaves the
   root's results, or false and leaves its error object; that of a plain Lua error has a
   field `trace`. */
bool task_run(lua_State *L, int nargs);

/* From a signal handler on the thread of the loop: cancels the root task at the next
   turn; host.task.signal() then tells the signal. Not after task_close_hooks. */
struct sched *task_sched(lua_State *L);
void task_interrupt(struct sched *s, int signal);
