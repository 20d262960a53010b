/* host.time. Whatever depends on the present asks the clock of the state (clock.h), so a
   test that pauses that clock governs all of it; a sleep is one alarm of the clock.

   iso and parse convert RFC 3339. timegm accepts 30 February and makes 2 March of it, so
   parse compares the day afterwards. A leap second is the first second of the next
   minute. */
#include <lauxlib.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "loop/clock.h"
#include "loop/task.h"

struct sleep {
    struct op op;
    struct alarm alarm;
    struct clock *clock;
    bool over;
};

static void on_alarm(struct alarm *alarm)
{
    struct sleep *s = (struct sleep *)((char *)alarm - offsetof(struct sleep, alarm));
    s->over = true;
    op_done(&s->op);
}

static void sleep_cancel(struct op *op)
{
    struct sleep *s = (struct sleep *)op;
    clock_clear(s->clock, &s->alarm);
    op_done(op);
}

static int sleep_push(struct op *op, lua_State *L)
{
    const struct sleep *s = (const struct sleep *)op;
    if (!s->over)
        return err_return(L, err_cancelled("time.sleep"));
    lua_pushboolean(L, true);
    return 1;
}

static void sleep_destroy(struct op *op) { mem_free(op); }

/* sleep(seconds) → true | nil, err */
static int l_sleep(lua_State *L)
{
    op_check(L);
    double seconds = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : -1;
    if (!(seconds >= 0) || seconds > 1e9)
        return err_argument(L, "time.sleep", "needs a number of seconds, 0 or more");
    struct sleep *s = mem_alloc(sizeof *s);
    s->op = (struct op){.source = OP_INSIDE,
                        .cancel = sleep_cancel,
                        .push = sleep_push,
                        .destroy = sleep_destroy};
    s->alarm.ring = on_alarm;
    s->clock = task_clock(L);
    clock_set(s->clock, &s->alarm, seconds);
    return op_wait(L, &s->op);
}

/* now() → monotonic seconds */
static int l_now(lua_State *L)
{
    lua_pushnumber(L, (double)clock_now(task_clock(L)) / 1e9);
    return 1;
}

/* wall() → unix seconds */
static int l_wall(lua_State *L)
{
    lua_pushnumber(L, clock_wall(task_clock(L)));
    return 1;
}

/* pause(on) → was it paused? */
static int l_pause(lua_State *L)
{
    struct clock *c = task_clock(L);
    lua_pushboolean(L, clock_paused(c));
    clock_pause(c, lua_toboolean(L, 1));
    return 1;
}

/* iso(unix) → "2026-08-01T10:00:00Z" */
static int l_iso(lua_State *L)
{
    double seconds = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : NAN;
    if (!(fabs(seconds) <= 253402300799.0 && seconds >= -62167219200.0))
        return err_argument(L, "time.iso",
                            "needs unix seconds within the years 0 to 9999");
    time_t when = (time_t)floor(seconds);
    struct tm tm;
    char text[32];
    gmtime_r(&when, &tm);
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02dZ",
             (tm.tm_year + 1900) % 10000, (tm.tm_mon + 1) % 100, tm.tm_mday % 100,
             tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
    lua_pushstring(L, text);
    return 1;
}

/* Exactly `count` digits as a number, -1 if they are not there. */
static int digits(const char **p, int count)
{
    int value = 0;
    for (; count > 0; count--, (*p)++) {
        if (**p < '0' || **p > '9')
            return -1;
        value = value * 10 + (**p - '0');
    }
    return value;
}

static bool skip(const char **p, const char *set)
{
    if (!**p || !strchr(set, **p))
        return false;
    (*p)++;
    return true;
}

static bool parse_zone(const char **p, long *offset)
{
    if (skip(p, "Zz")) {
        *offset = 0;
        return true;
    }
    long sign = **p == '-' ? -1 : 1;
    if (!skip(p, "+-"))
        return false;
    int hours = digits(p, 2);
    skip(p, ":");
    int minutes = digits(p, 2);
    *offset = sign * (hours * 3600L + minutes * 60L);
    return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

/* RFC 3339: "2026-08-01T10:00:00.25+02:00" */
static bool parse_iso(const char *p, double *unix_seconds)
{
    struct tm tm = {0};
    tm.tm_year = digits(&p, 4) - 1900;
    bool good = tm.tm_year >= -1900 && skip(&p, "-");
    tm.tm_mon = good ? digits(&p, 2) - 1 : -1;
    good = tm.tm_mon >= 0 && tm.tm_mon < 12 && skip(&p, "-");
    tm.tm_mday = good ? digits(&p, 2) : 0;
    good = tm.tm_mday > 0 && tm.tm_mday < 32 && skip(&p, "Tt ");
    tm.tm_hour = good ? digits(&p, 2) : -1;
    good = tm.tm_hour >= 0 && tm.tm_hour < 24 && skip(&p, ":");
    tm.tm_min = good ? digits(&p, 2) : -1;
    good = tm.tm_min >= 0 && tm.tm_min < 60 && skip(&p, ":");
    tm.tm_sec = good ? digits(&p, 2) : -1;
    if (tm.tm_sec < 0 || tm.tm_sec > 60)
        return false;
    double fraction = 0, unit = 1;
    if (skip(&p, ".")) {
        if (*p < '0' || *p > '9')
            return false;
        for (; *p >= '0' && *p <= '9'; p++)
            fraction += (*p - '0') * (unit /= 10);
    }
    long offset;
    if (!parse_zone(&p, &offset) || *p)
        return false;
    int day = tm.tm_mday;
    int leap = tm.tm_sec == 60;
    tm.tm_sec -= leap;
    time_t when = timegm(&tm);
    *unix_seconds = (double)(when + leap - offset) + fraction;
    return tm.tm_mday == day;
}

/* parse(iso) → unix seconds, or nil where it is no such time */
static int l_parse(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        return err_argument(L, "time.parse", "needs a string, not %s",
                            luaL_typename(L, 1));
    double seconds;
    if (!parse_iso(lua_tostring(L, 1), &seconds))
        return 0;
    lua_pushnumber(L, seconds);
    return 1;
}

int luaopen_host_time(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"sleep", l_sleep}, {"now", l_now},     {"wall", l_wall}, {"iso", l_iso},
        {"parse", l_parse}, {"pause", l_pause}, {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
