/* Starting a child: its pipes, its environment, and why it did not start.

   The pipes are real ones, not libuv's socket pairs: a child may open /dev/stderr by
   name. */
#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/task.h"
#include "proc/proc_own.h"
#include "secret/gate.h"
#include "secret/log.h"

/* At the end of the program nobody waits longer than this for a polite end. */
#define LAST_GRACE 2

struct family *volatile proc_family;

/* At the end of the program: no child outlives it. */
static void family_end(void *data)
{
    struct family *f = data;
    f->ending = true;
    for (struct proc *p = f->first; p; p = p->next) {
        if (p->setup->grace > LAST_GRACE)
            p->setup->grace = LAST_GRACE;
        proc_stop(p, PROC_STOPPED);
    }
    while (f->first)
        uv_run(f->loop, UV_RUN_ONCE);
    proc_family = NULL;
    mem_free(f);
}

static struct family *family_of(lua_State *L)
{
    static const char key;
    lua_pushlightuserdata(L, (void *)&key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    struct family *f = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (f)
        return f;
    f = mem_alloc(sizeof *f);
    f->loop = task_loop(L);
    lua_pushlightuserdata(L, (void *)&key);
    lua_pushlightuserdata(L, f);
    lua_rawset(L, LUA_REGISTRYINDEX);
    task_at_exit(L, family_end, f);
    proc_family = f;
    return f;
}

struct err *proc_start_error(const struct proc_setup *s, char **environment, int status)
{
    const char *program = s->argv[0];
    struct err *e;
    if (status != UV_ENOENT && status != UV_EACCES && status != UV_ENOTDIR) {
        e = err_new("proc.failed", s->op, "%s: cannot start '%s': %s", s->op, program,
                    uv_strerror(status));
    } else if (strchr(program, '/')) {
        e = err_new("proc.not_found", s->op, "%s: cannot start '%s': %s", s->op, program,
                    status == UV_EACCES ? "it is not an executable file"
                                        : "there is no such file");
        err_hint(e, "Correct the path of %s, or make it executable.", program);
    } else {
        const char *path = NULL;
        for (char **entry = environment; *entry; entry++)
            if (strncmp(*entry, "PATH=", 5) == 0)
                path = *entry + 5;
        e = err_new("proc.not_found", s->op, "%s: the program '%s' is not in PATH (%s)",
                    s->op, program, path ? path : "which is not set");
        err_hint(e, "Install %s, or correct PATH.", program);
    }
    err_field(e, "program", program);
    return e;
}

struct err *proc_refusal(const struct proc_setup *s)
{
    struct stat st;
    if (!s->read_only && gate_closed())
        return gate_refusal(s->op, s->argv[0]);
    if (!s->cwd)
        return NULL;
    if (stat(s->cwd, &st) < 0)
        return err_errno(errno, s->op, s->cwd);
    if (!S_ISDIR(st.st_mode))
        return err_errno(ENOTDIR, s->op, s->cwd);
    return NULL;
}

static struct proc *proc_new(struct family *f, struct proc_setup *setup)
{
    struct proc *p = mem_alloc(sizeof *p);
    p->setup = setup;
    p->family = f;
    p->next = f->first;
    f->first = p;
    uv_timer_init(f->loop, &p->timer);
    uv_pipe_init(f->loop, &p->pipes[0], 0);
    uv_pipe_init(f->loop, &p->pipes[1], 0);
    p->handles = 3;
    p->reading = 2;
    p->timer.data = p->pipes[0].data = p->pipes[1].data = p;
    if (setup->input != PROC_INPUT_NONE) {
        uv_pipe_init(f->loop, &p->input, 0);
        p->input.data = p;
        p->input_open = true;
        p->handles++;
    }
    return p;
}

/* Opens the pipe of the child's descriptor `fd`: our end goes into the handle, the
   child's into the container. */
static int pipe_between(struct proc *p, int fd, uv_stdio_container_t *container)
{
    uv_file ends[2];
    int ours = fd == 0 ? 1 : 0;
    int rc =
        uv_pipe(ends, ours == 0 ? UV_NONBLOCK_PIPE : 0, ours == 1 ? UV_NONBLOCK_PIPE : 0);
    if (rc < 0)
        return rc;
    container->flags = UV_INHERIT_FD;
    container->data.fd = ends[1 - ours];
    uv_pipe_t *handle = fd == 0 ? &p->input : &p->pipes[fd - 1];
    rc = uv_pipe_open(handle, ends[ours]);
    if (rc < 0)
        close(ends[ours]);
    return rc;
}

static int spawn(struct proc *p, char **environment)
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_IGNORE}};
    uv_process_options_t options = {
        .exit_cb = proc_on_exit,
        .file = p->setup->argv[0],
        .args = p->setup->argv,
        .env = environment,
        .cwd = p->setup->cwd,
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = 3,
        .stdio = stdio,
    };
    int rc = 0;
    for (int fd = p->input_open ? 0 : 1; fd < 3 && rc == 0; fd++)
        rc = pipe_between(p, fd, &stdio[fd]);
    if (rc == 0) {
        rc = uv_spawn(p->family->loop, &p->process, &options);
        p->process.data = p;
        p->handles++;
    }
    for (int fd = 0; fd < 3; fd++)
        if (stdio[fd].flags == UV_INHERIT_FD)
            close(stdio[fd].data.fd);
    return rc;
}

/* A signal waits until the child is one that proc_kill_all finds. The child itself starts
   with an empty mask. */
static void signals_hold(sigset_t *before)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &held, before);
}

struct err *proc_start(lua_State *L, struct proc_setup *setup,
                       const struct proc_events *events, void *owner, struct proc **out)
{
    struct err *e = proc_refusal(setup);
    if (e) {
        proc_setup_free(setup);
        return e;
    }
    struct family *f = family_of(L);
    log_flush(); /* what was said before the child comes before what it says */
    char **environment = proc_environment(setup);
    sigset_t mask;
    signals_hold(&mask);
    struct proc *p = proc_new(f, setup);
    p->started = uv_hrtime();
    int rc = spawn(p, environment);
    p->pid = rc < 0 ? 0 : p->process.pid;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (rc < 0)
        e = proc_start_error(setup, environment, rc);
    proc_environment_free(environment);
    if (rc < 0) {
        if (p->process.data)
            proc_handle_close(&p->process);
        proc_forget_output(p);
        proc_close_input(p);
        proc_handle_close(&p->timer);
        return e;
    }
    p->events = events;
    p->owner = owner;
    proc_live(p);
    *out = p;
    return NULL;
}
