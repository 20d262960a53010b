#pragma once
/* Child processes. There is no shell: a child is its argument list. Each runs in a
   session and process group of its own, so it has no terminal to prompt on and can be
   signalled with everything it started.

   The invariant: `closed` is called exactly once, when the child is reaped and its pipes
   and timer are closed; the struct is freed right after. A process counts its handles
   down to zero.

   Stopping is polite, then firm, then final: SIGTERM to the group, SIGKILL after the
   grace period, and at last the pipes are closed even if a stray descendant holds them
   open. */
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "secret/secret.h"

/* What to start: filled with the functions below, then given to proc_start or
 * proc_run_wait. */
enum proc_input { PROC_INPUT_NONE, PROC_INPUT_BYTES, PROC_INPUT_SECRET, PROC_INPUT_PIPE };

struct proc_setup {
    const char *op; /* the call, for messages; not copied */
    char **argv;    /* ends with NULL */
    size_t argc;
    char *cwd; /* NULL: the current folder */
    struct proc_var *vars;
    size_t var_count;
    bool clean_env; /* the environment is `vars` alone */
    bool read_only; /* changes nothing outside, so it may run while the gate is closed */
    enum proc_input input;
    char *bytes; /* for PROC_INPUT_BYTES */
    size_t byte_count;
    struct secret *secret; /* for PROC_INPUT_SECRET */
    double timeout;        /* seconds; 0: none */
    double grace;
    size_t limit; /* bytes of each output stream, for proc_run_wait */
};

struct proc_setup *proc_setup_new(const char *op);
void proc_setup_free(struct proc_setup *s); /* NULL is fine */
void proc_arg(struct proc_setup *s,
              const char *text); /* copied; the first one is the program */
/* The last change of a name wins. No NUL bytes: the caller checks. */
void proc_env(struct proc_setup *s, const char *name, const char *value);
void proc_env_secret(struct proc_setup *s, const char *name,
                     struct secret *value); /* refers */
void proc_env_unset(struct proc_setup *s, const char *name);

/* The environment as execve takes it. It may hold secrets: proc_environment_free wipes
 * it. */
char **proc_environment(const struct proc_setup *s);
void proc_environment_free(char **environment);

/* A running child. */
enum proc_stream { PROC_STDOUT, PROC_STDERR };
enum proc_stop { PROC_RUNNING, PROC_STOPPED, PROC_CANCELLED, PROC_TIMEOUT, PROC_LIMIT };

struct proc;
struct proc_events { /* loop callbacks: no Lua */
    void (*data)(void *owner, enum proc_stream stream, const char *bytes, size_t len);
    void (*ended)(void *owner, enum proc_stream stream); /* no more data from it */
    void (*exited)(void *owner);                         /* may be NULL */
    void (*closed)(void *owner);                         /* the last callback */
};

/* Takes over `setup` in every case. On failure returns the error, and no callback
   follows;
   `*out` is set otherwise. */
struct err *proc_start(lua_State *L, struct proc_setup *setup,
                       const struct proc_events *events, void *owner, struct proc **out);

/* Asks the child to end; the first reason stands. The callbacks follow as always. */
void proc_stop(struct proc *p, enum proc_stop reason);
enum proc_stop proc_stopped(const struct proc *p);
void proc_forget_output(
    struct proc *p); /* closes the pipes: a child that writes on is told so */
void proc_pause(struct proc *p, bool paused); /* stops reading both streams, or goes on */
int proc_signal(struct proc *p, int signal);  /* to the group; 0 or a libuv error */

int proc_status(const struct proc *p);      /* 128 + signal for one that a signal ended */
int proc_term_signal(const struct proc *p); /* 0: none */
int proc_pid(const struct proc *p);
double proc_seconds(const struct proc *p); /* from start to exit */

/* Standard input of a child started with PROC_INPUT_PIPE. `bytes` must live until `done`,
   which is called once with 0 or a libuv error (UV_EPIPE when the child reads no more),
   before the child is closed. */
typedef void (*proc_written)(void *data, int status);
void proc_write(struct proc *p, const char *bytes, size_t len, proc_written done,
                void *data);
void proc_close_input(struct proc *p);

/* For a signal handler on the loop's thread that ends the program at once: kills the
   groups of all children. */
void proc_kill_all(void);

/* The error that a stop means, for results: NULL when the child ended by itself. */
struct err *proc_stop_error(const struct proc *p);

/* A whole run: the operation that starts a child, collects its output and waits for its
   end. The last line of a binding, after op_check and the arguments. Takes over `setup`.
 */
struct proc_result {
    int status;
    int signal;
    double seconds;
    struct buf out;
    struct buf err;
};
/* Leaves results like an operation's push: must not raise. `data` is freed with
   `free_data` in every case. */
typedef int (*proc_push)(lua_State *L, const struct proc_result *result, void *data);
int proc_run_wait(lua_State *L, struct proc_setup *setup, proc_push push, void *data,
                  void (*free_data)(void *data));

/* Reads the options of host.proc into a setup: raises on wrong ones. */
enum proc_kind { PROC_RUN, PROC_LINES, PROC_FOREGROUND, PROC_DETACHED };
struct proc_setup *proc_options(lua_State *L, int index, const char *op,
                                enum proc_kind kind);
/* The number of a signal's name ("TERM", "SIGTERM"), 0 if there is none. */
int proc_signal_number(const char *name);

int l_proc_spawn(lua_State *L); /* proc_child.c: a child read by lines */
void proc_child_open(lua_State *L);

int l_proc_foreground(lua_State *L); /* proc_front.c: a child in this process's place */

int l_proc_detach(lua_State *L); /* proc_detach.c: a child that outlives this process */
void proc_detach_open(lua_State *L);
