/* A child in the foreground: it stands where this process stands. It reads this process's
   standard input, and what it writes leaves through the two streams of the log, masked.
   Where a person is at the terminal, the child gets the terminal itself, and nothing is
   masked.

   It stays in this process's group, because only the foreground group may read from the
   terminal. So a signal comes from one of two sides: what the terminal sends, it sends to
   the child as well; what another process sends to this one is passed on. */
#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/task.h"
#include "proc/proc_own.h"
#include "secret/log.h"

static const char op_name[] = "proc.foreground";

static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
enum { SIGNALS = sizeof passed_on / sizeof *passed_on };

struct front {
    struct op op;
    uv_process_t process;
    uv_timer_t timer;
    uv_pipe_t pipes[2];
    bool piped[2];    /* masked; otherwise the child has the terminal */
    unsigned handles; /* not closed yet */
    bool exited;
    int status;
    int signal;
    uint64_t started;
    uint64_t ended;
    struct proc_setup *setup;
    struct err *error;
    struct sigaction before[SIGNALS];
    char chunk[65536]; /* what is being read */
};

static volatile sig_atomic_t front_pid; /* 0: none */

/* On any thread. A positive code is the kernel's: the terminal signals the whole group.
 */
static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)context;
    int error = errno;
    if (info->si_code <= 0 && front_pid > 0)
        kill(front_pid, signal);
    errno = error;
}

static void signals_take(struct front *f)
{
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags = SA_RESTART | SA_SIGINFO};
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(passed_on[i], &action, &f->before[i]);
}

static void signals_give_back(struct front *f)
{
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(passed_on[i], &f->before[i], NULL);
}

/* A signal waits until the child is one that it can be passed on to. */
static void signals_hold(sigset_t *before)
{
    sigset_t held;
    sigemptyset(&held);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaddset(&held, passed_on[i]);
    pthread_sigmask(SIG_BLOCK, &held, before);
}

static void on_closed(uv_handle_t *handle)
{
    struct front *f = handle->data;
    if (--f->handles > 0)
        return;
    signals_give_back(f);
    op_done(&f->op);
}

static void handle_close(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

/* After the child's end: the timer is closed with the last pipe. */
static void settle(struct front *f)
{
    bool reading = false;
    for (int i = 0; i < 2; i++)
        reading |= f->piped[i] && !uv_is_closing((uv_handle_t *)&f->pipes[i]);
    if (f->exited && !reading)
        handle_close(&f->timer);
}

static void pipes_close(struct front *f)
{
    for (int i = 0; i < 2; i++)
        if (f->piped[i])
            handle_close(&f->pipes[i]);
    settle(f);
}

static void on_silence_polled(uv_timer_t *timer) { pipes_close(timer->data); }

static void on_silence(uv_timer_t *timer)
{
    uv_timer_start(timer, on_silence_polled, PROC_POLL_MS, 0);
}

static void silence_start(struct front *f)
{
    if (!f->exited || uv_is_closing((uv_handle_t *)&f->timer))
        return;
    uv_update_time(f->timer.loop); /* it stands still while a slow reader is written to */
    uv_timer_start(&f->timer, on_silence, PROC_LINGER_MS, 0);
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
    struct front *f = process->data;
    front_pid = 0;
    f->exited = true;
    f->signal = signal;
    f->status = signal ? 128 + signal : (int)status;
    f->ended = uv_hrtime();
    log_debug("proc=%d exit status=%d signal=%d", process->pid, f->status, signal);
    handle_close(process);
    silence_start(f);
    settle(f);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct front *f = handle->data;
    *buf = uv_buf_init(f->chunk, sizeof f->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct front *f = stream->data;
    enum log_stream out = stream == (uv_stream_t *)&f->pipes[0] ? LOG_OUT : LOG_ERR;
    if (len > 0)
        log_write(out, buf->base, (size_t)len);
    /* When no one reads this process's output any longer, the child's pipe is closed, so
       that its next write fails, too. */
    if (len < 0 || log_broken(out))
        handle_close(stream);
    silence_start(f);
    settle(f);
}

static int pipe_to(struct front *f, int i, uv_stdio_container_t *container)
{
    uv_file ends[2];
    int rc = uv_pipe(ends, UV_NONBLOCK_PIPE, 0);
    if (rc < 0)
        return rc;
    container->data.fd = ends[1];
    rc = uv_pipe_open(&f->pipes[i], ends[0]);
    if (rc < 0)
        close(ends[0]);
    return rc;
}

static int spawn(struct front *f, char **environment)
{
    uv_stdio_container_t stdio[3];
    uv_process_options_t options = {
        .exit_cb = on_exit_of,
        .file = f->setup->argv[0],
        .args = f->setup->argv,
        .env = environment,
        .cwd = f->setup->cwd,
        .stdio_count = 3,
        .stdio = stdio,
    };
    for (int fd = 0; fd < 3; fd++)
        stdio[fd] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = fd};
    int rc = 0;
    for (int i = 0; i < 2 && rc == 0; i++)
        if (f->piped[i])
            rc = pipe_to(f, i, &stdio[i + 1]);
    if (rc == 0) {
        rc = uv_spawn(f->timer.loop, &f->process, &options);
        f->process.data = f;
        f->handles++;
    }
    for (int fd = 1; fd < 3; fd++)
        if (stdio[fd].data.fd != fd)
            close(stdio[fd].data.fd);
    return rc;
}

static void handles_open(struct front *f, uv_loop_t *loop)
{
    bool person = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    f->handles = 1;
    for (int i = 0; i < 2; i++) {
        f->piped[i] = !person || !isatty(i + 1);
        if (!f->piped[i])
            continue;
        uv_pipe_init(loop, &f->pipes[i], 0);
        f->pipes[i].data = f;
        f->handles++;
    }
}

static void start(struct front *f, uv_loop_t *loop)
{
    log_flush(); /* what was said before the child comes before what it says */
    char **environment = proc_environment(f->setup);
    sigset_t mask;
    signals_hold(&mask);
    signals_take(f);
    handles_open(f, loop);
    f->started = f->ended = uv_hrtime();
    int rc = spawn(f, environment);
    front_pid = rc < 0 ? 0 : f->process.pid;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (rc < 0) {
        f->error = proc_start_error(f->setup, environment, rc);
        f->exited = true;
        if (f->process.data)
            handle_close(&f->process);
        pipes_close(f);
    } else {
        log_debug("proc=%d run program=%s", f->process.pid, f->setup->argv[0]);
        for (int i = 0; i < 2; i++)
            if (f->piped[i])
                uv_read_start((uv_stream_t *)&f->pipes[i], on_alloc, on_read);
    }
    proc_environment_free(environment);
}

/* Asks politely; the operation ends with the child. */
static void front_cancel(struct op *op)
{
    (void)op;
    if (front_pid > 0)
        kill(front_pid, SIGTERM);
}

static int front_push(struct op *op, lua_State *L)
{
    struct front *f = (struct front *)op;
    struct err *e = f->error;
    f->error = NULL;
    if (e)
        return err_return(L, e);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, f->status);
    lua_setfield(L, -2, "status");
    if (f->signal) {
        lua_pushinteger(L, f->signal);
        lua_setfield(L, -2, "signal");
    }
    lua_pushnumber(L, (double)(f->ended - f->started) / 1e9);
    lua_setfield(L, -2, "seconds");
    return 1;
}

static void front_destroy(struct op *op)
{
    struct front *f = (struct front *)op;
    err_free(f->error);
    proc_setup_free(f->setup);
    mem_wipe(f->chunk, sizeof f->chunk); /* it may have said a secret */
    mem_free(f);
}

/* foreground{…} → {status, signal, seconds} | nil, err */
int l_proc_foreground(lua_State *L)
{
    op_check(L);
    if (front_pid > 0)
        return err_argument(L, op_name, "another child is in the foreground");
    struct proc_setup *setup = proc_options(L, 1, op_name, PROC_FOREGROUND);
    struct err *e = op_cancelled(L) ? err_cancelled(op_name) : proc_refusal(setup);
    if (e) {
        proc_setup_free(setup);
        return err_return(L, e);
    }
    struct front *f = mem_alloc(sizeof *f);
    f->op.cancel = front_cancel;
    f->op.push = front_push;
    f->op.destroy = front_destroy;
    f->setup = setup;
    start(f, task_loop(L));
    return op_wait(L, &f->op);
}
