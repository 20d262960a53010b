/* Waiting until a child's input pipe has taken some bytes. */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "loop/task.h"
#include "proc/proc.h"

#include <uv.h>

struct feed {
    struct op op;
    struct proc *proc; /* NULL once the bytes are written, or cannot be */
    struct buf bytes;
    int status;
};

static void on_written(void *data, int status)
{
    struct feed *f = data;
    f->proc = NULL;
    f->status = status;
    op_done(&f->op);
}

/* What is half written cannot be taken back: the pipe is closed, which ends the write. */
static void feed_cancel(struct op *op) { proc_close_input(((struct feed *)op)->proc); }

static int feed_push(struct op *op, lua_State *L)
{
    struct feed *f = (struct feed *)op;
    if (f->status < 0 && op->cancelled)
        return err_return(L, err_cancelled("child:write"));
    if (f->status < 0)
        return err_return(L, err_new("proc.closed", "child:write",
                                     "child:write: the child does not read its input: %s",
                                     uv_strerror(f->status)));
    lua_pushboolean(L, 1);
    return 1;
}

static void feed_destroy(struct op *op)
{
    struct feed *f = (struct feed *)op;
    buf_fini_wiped(&f->bytes);
    mem_free(f);
}

int proc_write_wait(lua_State *L, struct proc *p, const char *bytes, size_t len)
{
    if (op_cancelled(L))
        return err_return(L, err_cancelled("child:write"));
    struct feed *f = mem_alloc(sizeof *f);
    f->op.cancel = feed_cancel;
    f->op.push = feed_push;
    f->op.destroy = feed_destroy;
    f->proc = p;
    buf_init(&f->bytes);
    buf_add(&f->bytes, bytes, len);
    if (p)
        proc_write(p, buf_text(&f->bytes), len, on_written, f);
    else
        on_written(f, UV_EPIPE);
    return op_wait(L, &f->op);
}
