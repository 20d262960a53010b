/* One child: a process handle, up to three pipes and a timer that first means the time
   limit, then the grace period, then how long a pipe may outlive the child. When the last
   handle is closed, the owner hears of it and the struct is freed. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "proc/proc_own.h"
#include "secret/log.h"

struct writing {
    uv_write_t req;
    proc_written done;
    void *data;
};

static void on_closed(uv_handle_t *handle)
{
    struct proc *p = handle->data;
    if (--p->handles > 0)
        return;
    struct proc **link = &p->family->first;
    while (*link != p)
        link = &(*link)->next;
    *link = p->next;
    if (p->stop && --p->family->stopping == 0)
        prctl(PR_SET_CHILD_SUBREAPER, 0);
    log_debug("proc=%d closed", p->pid);
    if (p->events)
        p->events->closed(p->owner);
    proc_setup_free(p->setup);
    mem_wipe(p->chunk, sizeof p->chunk); /* it may have said a secret */
    mem_free(p);
}

void proc_handle_close(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void pipe_close(struct proc *p, enum proc_stream stream)
{
    if (uv_is_closing((uv_handle_t *)&p->pipes[stream]))
        return;
    p->reading--;
    proc_handle_close(&p->pipes[stream]);
    if (p->events)
        p->events->ended(p->owner, stream);
}

void proc_close_input(struct proc *p)
{
    if (!p->input_open)
        return;
    p->input_open = false;
    proc_handle_close(&p->input);
}

static void group_kill(const struct proc *p, int signal)
{
    log_debug("proc=%d signal=%d", p->pid, signal);
    if (p->pid > 0)
        kill(-p->pid, signal);
}

/* Whether others than the child itself are left of its group. They became our children
   when their parent ended (see proc_stop), so those who are dead are ours to bury. */
static bool group_lives(const struct proc *p)
{
    while (waitpid(-p->pid, NULL, WNOHANG) > 0)
        continue;
    return kill(-p->pid, 0) == 0 || errno == EPERM;
}

static void on_timer(uv_timer_t *timer);

static uint64_t milliseconds(double seconds)
{
    return seconds < 1e9 ? (uint64_t)ceil(seconds * 1000) : (uint64_t)1e12;
}

static void timer_start(struct proc *p, uint64_t ms)
{
    p->polled = false;
    uv_update_time(p->family->loop); /* it stands still while Lua computes */
    uv_timer_start(&p->timer, on_timer, ms, 0);
}

static uint64_t last_moment(const struct proc *p)
{
    return p->kill_at + (p->killed ? PROC_LINGER_MS : 0);
}

/* Some of a stopped group live on, or die right now, and hold no pipe. No event tells of
   the end of a grandchild, so ask again, less and less often. */
static void ask_again(struct proc *p)
{
    uint64_t now = uv_now(p->family->loop);
    uint64_t left = last_moment(p) > now ? last_moment(p) - now : 0;
    p->patience = p->patience ? p->patience * 2 : 2;
    timer_start(p, p->patience < left ? p->patience : left);
}

/* After the exit: close what is left, or wait a bounded time for those who hold it. */
static void settle(struct proc *p)
{
    if (!p->exited || uv_is_closing((uv_handle_t *)&p->timer))
        return;
    bool in_time = !p->killed || uv_now(p->family->loop) < last_moment(p);
    if (p->reading > 0 && !p->stop && !p->paused)
        timer_start(p, PROC_LINGER_MS);
    else if (p->reading == 0 && p->stop && in_time && group_lives(p))
        ask_again(p);
    else if (p->reading == 0)
        proc_handle_close(&p->timer);
}

void proc_forget_output(struct proc *p)
{
    pipe_close(p, PROC_STDOUT);
    pipe_close(p, PROC_STDERR);
    settle(p);
}

static void on_timer(uv_timer_t *timer)
{
    struct proc *p = timer->data;
    if (!p->polled) {
        p->polled = true;
        uv_timer_start(timer, on_timer, PROC_POLL_MS, 0);
        return;
    }
    bool patient = p->exited && p->reading == 0 && uv_now(timer->loop) < last_moment(p);
    if (!p->stop && !p->exited) {
        proc_stop(p, PROC_TIMEOUT);
    } else if (p->stop && patient) {
        settle(p);
    } else if (p->stop && !p->killed) {
        p->killed = true;
        p->patience = 0;
        group_kill(p, SIGKILL);
        timer_start(p, PROC_LINGER_MS);
        settle(p);
    } else {
        if (!p->exited && p->family->ending) { /* not even SIGKILL ends it: leave it */
            p->exited = true;
            proc_handle_close(&p->process);
        }
        proc_forget_output(p);
    }
}

void proc_on_exit(uv_process_t *process, int64_t status, int signal)
{
    struct proc *p = process->data;
    p->exited = true;
    p->signal = signal;
    p->status = signal ? 128 + signal : (int)status;
    p->ended = uv_hrtime();
    log_debug("proc=%d exit status=%d signal=%d", p->pid, p->status, signal);
    proc_handle_close(process);
    proc_close_input(p);
    if (!p->stop)
        uv_timer_stop(&p->timer);
    if (p->events->exited)
        p->events->exited(p->owner);
    settle(p);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct proc *p = handle->data;
    *buf = uv_buf_init(p->chunk, sizeof p->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct proc *p = stream->data;
    enum proc_stream which =
        stream == (uv_stream_t *)&p->pipes[0] ? PROC_STDOUT : PROC_STDERR;
    if (len > 0)
        p->events->data(p->owner, which, buf->base, (size_t)len);
    if (len < 0) {
        pipe_close(p, which);
        settle(p);
    }
}

void proc_pause(struct proc *p, bool paused)
{
    if (p->paused == paused || (paused && p->stop)) /* its end must be seen */
        return;
    p->paused = paused;
    for (int i = 0; i < 2; i++) {
        if (uv_is_closing((uv_handle_t *)&p->pipes[i]))
            continue;
        if (paused)
            uv_read_stop((uv_stream_t *)&p->pipes[i]);
        else
            uv_read_start((uv_stream_t *)&p->pipes[i], on_alloc, on_read);
    }
    if (p->exited && !p->stop && paused)
        uv_timer_stop(&p->timer); /* it is the reader who is slow, not a descendant */
    settle(p);
}

static void on_written(uv_write_t *req, int status)
{
    struct writing *w = (struct writing *)req;
    w->done(w->data, status);
    mem_free(w);
}

void proc_write(struct proc *p, const char *bytes, size_t len, proc_written done,
                void *data)
{
    if (!p->input_open) {
        done(data, UV_EPIPE);
        return;
    }
    struct writing *w = mem_alloc(sizeof *w);
    w->done = done;
    w->data = data;
    uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)len);
    int rc = uv_write(&w->req, (uv_stream_t *)&p->input, &buf, 1, on_written);
    if (rc < 0) {
        mem_free(w);
        done(data, rc);
    }
}

static void on_input_written(void *data, int status)
{
    if (status != UV_ECANCELED) /* then it is being closed already */
        proc_close_input(data);
}

static void input_start(struct proc *p)
{
    const struct proc_setup *s = p->setup;
    size_t len = s->byte_count;
    const char *bytes = s->bytes;
    if (s->input == PROC_INPUT_SECRET)
        bytes = secret_open(s->secret, &len); /* the setup lives as long as the pipe */
    if (s->input == PROC_INPUT_PIPE)
        return;
    if (len == 0)
        proc_close_input(p);
    else
        proc_write(p, bytes, len, on_input_written, p);
}

void proc_live(struct proc *p)
{
    log_debug("proc=%d run program=%s", p->pid, p->setup->argv[0]);
    for (int i = 0; i < 2; i++)
        uv_read_start((uv_stream_t *)&p->pipes[i], on_alloc, on_read);
    if (p->input_open)
        input_start(p);
    if (p->setup->timeout > 0)
        timer_start(p, milliseconds(p->setup->timeout));
}

void proc_stop(struct proc *p, enum proc_stop reason)
{
    if (p->stop || uv_is_closing((uv_handle_t *)&p->timer))
        return;
    p->stop = reason;
    /* Grandchildren come to us, not to init, when their parent ends before them. */
    if (p->family->stopping++ == 0)
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    group_kill(p, SIGTERM);
    timer_start(p, milliseconds(p->setup->grace));
    p->kill_at = uv_now(p->family->loop) + milliseconds(p->setup->grace);
    proc_pause(p, false);
    settle(p);
}

void proc_kill_all(void)
{
    const struct family *f = proc_family;
    for (const struct proc *p = f ? f->first : NULL; p; p = p->next)
        if (p->pid > 0)
            kill(-p->pid, SIGKILL);
}

int proc_signal(struct proc *p, int signal)
{
    if (p->exited)
        return UV_ESRCH;
    return kill(-p->pid, signal) == 0 ? 0 : uv_translate_sys_error(errno);
}

struct err *proc_stop_error(const struct proc *p)
{
    const struct proc_setup *s = p->setup;
    switch (p->stop) {
    case PROC_CANCELLED:
        return err_cancelled(s->op);
    case PROC_TIMEOUT:
        return err_new("proc.timeout", s->op,
                       "%s: '%s' did not end within %g s and was stopped", s->op,
                       s->argv[0], s->timeout);
    case PROC_LIMIT:
        return err_new("proc.output_limit", s->op,
                       "%s: '%s' wrote more than %zu bytes and was stopped", s->op,
                       s->argv[0], s->limit);
    case PROC_RUNNING:
    case PROC_STOPPED:
        return NULL;
    }
    return NULL;
}

enum proc_stop proc_stopped(const struct proc *p) { return p->stop; }

int proc_status(const struct proc *p) { return p->status; }

int proc_term_signal(const struct proc *p) { return p->signal; }

int proc_pid(const struct proc *p) { return p->pid; }

double proc_seconds(const struct proc *p)
{
    return (double)((p->exited ? p->ended : uv_hrtime()) - p->started) / 1e9;
}
