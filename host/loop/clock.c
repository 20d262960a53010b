/* The alarms stand in a binary heap. The timer is armed for the first of them, and is
   active only while there is one: a loop without it and without other handles is a
   deadlock, which the scheduler reports.

   A jump adds to `skipped`; the system's clock is never touched. Real time goes on
   between jumps, so that a task that waits for a child with a time limit behaves as ever.
 */
#include "loop/clock.h"

#include <assert.h>
#include <math.h>
#include <time.h>

#include "base/mem.h"

#define NANOSECONDS 1000000000.0
#define PER_MILLISECOND 1000000u

struct clock {
    uv_timer_t timer;
    struct alarm **heap;
    size_t count, room;
    uint64_t skipped; /* nanoseconds */
    uint64_t seq;
    bool paused;
};

static bool rings_before(const struct alarm *a, const struct alarm *b)
{
    return a->due != b->due ? a->due < b->due : a->seq < b->seq;
}

static void put(struct clock *c, size_t at, struct alarm *alarm)
{
    c->heap[at] = alarm;
    alarm->at = at;
}

static void move_up(struct clock *c, size_t at, struct alarm *alarm)
{
    while (at > 0 && rings_before(alarm, c->heap[(at - 1) / 2])) {
        put(c, at, c->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(c, at, alarm);
}

static void move_down(struct clock *c, size_t at, struct alarm *alarm)
{
    for (size_t child; (child = 2 * at + 1) < c->count; at = child) {
        if (child + 1 < c->count && rings_before(c->heap[child + 1], c->heap[child]))
            child++;
        if (!rings_before(c->heap[child], alarm))
            break;
        put(c, at, c->heap[child]);
    }
    put(c, at, alarm);
}

uint64_t clock_now(const struct clock *c) { return uv_hrtime() + c->skipped; }

double clock_wall(const struct clock *c)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (double)ts.tv_sec + ((double)ts.tv_nsec + (double)c->skipped) / NANOSECONDS;
}

static void on_timer(uv_timer_t *timer);

/* Arms the timer for the first alarm. A timer of libuv counts milliseconds: it rounds up,
   since a sleep must not end early. */
static void arm(struct clock *c)
{
    if (c->count == 0) {
        uv_timer_stop(&c->timer);
        return;
    }
    uint64_t now = clock_now(c), due = c->heap[0]->due;
    uint64_t left = due > now ? (due - now + PER_MILLISECOND - 1) / PER_MILLISECOND : 0;
    uv_update_time(c->timer.loop); /* Lua may have computed since the loop looked */
    uv_timer_start(&c->timer, on_timer, left, 0);
}

static void remove_at(struct clock *c, size_t at)
{
    struct alarm *last = c->heap[--c->count];
    if (at == c->count)
        return;
    if (at > 0 && rings_before(last, c->heap[(at - 1) / 2]))
        move_up(c, at, last);
    else
        move_down(c, at, last);
}

static void ring_due(struct clock *c)
{
    uint64_t now = clock_now(c);
    while (c->count > 0 && c->heap[0]->due <= now) {
        struct alarm *alarm = c->heap[0];
        remove_at(c, 0);
        alarm->ring(alarm);
    }
    arm(c);
}

static void on_timer(uv_timer_t *timer) { ring_due(timer->data); }

void clock_set(struct clock *c, struct alarm *alarm, double seconds)
{
    if (c->count == c->room) {
        c->room = c->room ? 2 * c->room : 16;
        c->heap = mem_resize(c->heap, c->room * sizeof(struct alarm *));
    }
    alarm->due = clock_now(c) + (uint64_t)ceil(seconds * NANOSECONDS);
    alarm->seq = c->seq++;
    move_up(c, c->count++, alarm);
    if (alarm->at == 0)
        arm(c);
}

void clock_clear(struct clock *c, struct alarm *alarm)
{
    assert(alarm->at < c->count && c->heap[alarm->at] == alarm);
    bool first = alarm->at == 0;
    remove_at(c, alarm->at);
    if (first)
        arm(c);
}

void clock_pause(struct clock *c, bool paused) { c->paused = paused; }

bool clock_paused(const struct clock *c) { return c->paused; }

bool clock_jump(struct clock *c)
{
    if (c->count == 0)
        return false;
    uint64_t now = clock_now(c);
    if (c->heap[0]->due > now)
        c->skipped += c->heap[0]->due - now;
    ring_due(c);
    return true;
}

struct clock *clock_open(uv_loop_t *loop)
{
    struct clock *c = mem_alloc(sizeof *c);
    if (uv_timer_init(loop, &c->timer) != 0) {
        mem_free(c);
        return NULL;
    }
    c->timer.data = c;
    return c;
}

static void on_closed(uv_handle_t *handle)
{
    struct clock *c = handle->data;
    mem_free(c->heap);
    mem_free(c);
}

void clock_close(struct clock *c) { uv_close((uv_handle_t *)&c->timer, on_closed); }
