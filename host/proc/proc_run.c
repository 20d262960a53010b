/* A whole run: a child whose output is collected until it ends. */
#include <lauxlib.h>

#include "base/mem.h"
#include "loop/task.h"
#include "proc/proc.h"

/* How much of the child's last words an error carries. */
#define TAIL 2000

struct run {
    struct op op;
    struct proc *proc; /* NULL before the start and after the end */
    size_t limit;
    struct proc_result result;
    struct err *error;
    proc_push push;
    void *data;
    void (*free_data)(void *data);
};

static void on_data(void *owner, enum proc_stream stream, const char *bytes, size_t len)
{
    struct run *r = owner;
    struct buf *b = stream == PROC_STDOUT ? &r->result.out : &r->result.err;
    size_t room = r->limit - b->len;
    buf_add(b, bytes, len < room ? len : room);
    if (len > room) {
        proc_stop(r->proc, PROC_LIMIT);
        proc_forget_output(r->proc);
    }
}

static void on_ended(void *owner, enum proc_stream stream)
{
    (void)owner;
    (void)stream;
}

static void on_closed(void *owner)
{
    struct run *r = owner;
    r->result.status = proc_status(r->proc);
    r->result.signal = proc_term_signal(r->proc);
    r->result.seconds = proc_seconds(r->proc);
    r->error = proc_stop_error(r->proc);
    if (r->error && r->result.err.len > 0) {
        size_t len = r->result.err.len;
        err_field(r->error, "stderr",
                  buf_text(&r->result.err) + (len > TAIL ? len - TAIL : 0));
    }
    r->proc = NULL;
    op_done(&r->op);
}

static void run_cancel(struct op *op)
{
    proc_stop(((struct run *)op)->proc, PROC_CANCELLED);
}

static int run_push(struct op *op, lua_State *L)
{
    struct run *r = (struct run *)op;
    if (!r->error)
        return r->push(L, &r->result, r->data);
    struct err *e = r->error;
    r->error = NULL;
    return err_return(L, e);
}

static void run_destroy(struct op *op)
{
    struct run *r = (struct run *)op;
    err_free(r->error);
    buf_fini_wiped(&r->result.out); /* a child may have printed anything */
    buf_fini_wiped(&r->result.err);
    mem_wipe_stack(); /* SIGCHLD tends to come while the output is being copied */
    if (r->free_data)
        r->free_data(r->data);
    mem_free(r);
}

int proc_run_wait(lua_State *L, struct proc_setup *setup, proc_push push, void *data,
                  void (*free_data)(void *data))
{
    static const struct proc_events events = {
        .data = on_data, .ended = on_ended, .closed = on_closed};
    if (op_cancelled(L)) {
        struct err *e = err_cancelled(setup->op);
        proc_setup_free(setup);
        if (free_data)
            free_data(data);
        return err_return(L, e);
    }
    struct run *r = mem_alloc(sizeof *r);
    r->op.cancel = run_cancel;
    r->op.push = run_push;
    r->op.destroy = run_destroy;
    r->limit = setup->limit;
    r->push = push;
    r->data = data;
    r->free_data = free_data;
    buf_init(&r->result.out);
    buf_init(&r->result.err);
    r->error = proc_start(L, setup, &events, r, &r->proc);
    if (r->error)
        op_done(&r->op);
    return op_wait(L, &r->op);
}
