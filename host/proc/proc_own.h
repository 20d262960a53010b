#pragma once
/* The struct of a child, for the two files that make one: proc_start.c opens the handles,
   proc.c lives with them and closes them. proc_front.c makes children of another kind. */
#include <uv.h>

#include "proc/proc.h"

/* The loop runs timers before it polls, so after a long stall a timer fires while output,
   or the exit of a child, waits unseen. A timer that fires is therefore started once more
   for this long, and the loop polls in between. */
#define PROC_POLL_MS 1

/* How long a descendant may hold a pipe open after the child's end. */
#define PROC_LINGER_MS 1000

struct family { /* the children of one Lua state that are not closed */
    struct proc *first;
    uv_loop_t *loop;
    unsigned stopping; /* those that were asked to end */
    bool ending;
};

struct proc {
    uv_process_t process;
    uv_pipe_t pipes[2];
    uv_pipe_t input;
    uv_timer_t timer;
    struct proc_setup *setup;
    const struct proc_events *events; /* NULL: it did not start */
    void *owner;
    struct family *family;
    struct proc *next;
    enum proc_stop stop;
    int pid;
    int status;
    int signal;
    uint64_t started;
    uint64_t ended;
    uint64_t kill_at;  /* of the loop's clock, once it is stopped */
    uint64_t patience; /* milliseconds until the next look at the group */
    unsigned handles;  /* not closed yet */
    unsigned reading;  /* output pipes not closed */
    bool input_open;
    bool exited;
    bool killed;
    bool paused;
    bool polled;       /* since the timer fired */
    char chunk[65536]; /* what is being read */
};

/* The process's one family, for signal handlers; NULL before the first child. */
extern struct family *volatile proc_family;

/* proc.c, for proc_start.c */
void proc_handle_close(void *handle);
void proc_live(struct proc *p); /* it runs: read, feed, watch the clock */
void proc_on_exit(uv_process_t *process, int64_t status, int signal);

/* proc_start.c, for proc_front.c and proc_detach.c: why a child may not start, NULL when
   it may; and why it did not. `environment` is what it would have got. */
struct err *proc_refusal(const struct proc_setup *s);
struct err *proc_start_error(const struct proc_setup *s, char **environment, int status);
