#pragma once
/* The clock that tasks sleep by: alarms in the order of their time, and one libuv timer
   for the first of them.

   Paused, the clock jumps to the first alarm instead of waiting for it; otherwise it runs
   at the speed of the system's clock. When it may jump is the scheduler's decision: no
   task waits for anything outside of the process. Only tests pause it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct clock;

/* Embed it; it belongs to its owner, the clock only points at it while it is set. */
struct alarm {
    uint64_t due; /* nanoseconds of clock_now */
    uint64_t seq; /* alarms of the same time ring in the order in which they were set */
    size_t at;    /* its place in the heap */
    void (*ring)(struct alarm *alarm); /* it is no longer set; may set it again */
};

struct clock *clock_open(uv_loop_t *loop);

/* Closes the timer; the memory goes when the loop has closed it. */
void clock_close(struct clock *c);

void clock_set(struct clock *c, struct alarm *alarm, double seconds);
void clock_clear(struct clock *c, struct alarm *alarm);

uint64_t clock_now(const struct clock *c); /* monotonic nanoseconds, jumps included */
double clock_wall(const struct clock *c);  /* Unix seconds, jumps included */

void clock_pause(struct clock *c, bool paused);
bool clock_paused(const struct clock *c);

/* Moves the clock to the first alarm and rings all that are due then. False when none is
   set. */
bool clock_jump(struct clock *c);
