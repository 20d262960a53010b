/* What is left at the end of a state is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vm.h"

static void an_empty_state_leaves_nothing(void **state)
{
    (void)state;
    struct task_left left = vm_close(vm_open("vm_test"));
    assert_int_equal(left.handles, 0);
    assert_false(left.work);
}

static void handles_that_nobody_closed_are_counted(void **state)
{
    (void)state;
    static uv_timer_t timers[3];
    lua_State *L = vm_open("vm_test");
    for (size_t i = 0; i < 3; i++)
        uv_timer_init(task_loop(L), &timers[i]);
    uv_close((uv_handle_t *)&timers[1], NULL);
    assert_int_equal(vm_close(L).handles, 2);
}

static uv_sem_t never;

static void on_work(uv_work_t *work)
{
    (void)work;
    uv_sem_wait(&never);
}

static void on_done(uv_work_t *work, int status)
{
    (void)work;
    (void)status;
}

static void work_that_does_not_end_is_not_awaited(void **state)
{
    (void)state;
    static uv_work_t work;
    lua_State *L = vm_open("vm_test");
    uv_sem_init(&never, 0);
    uv_queue_work(task_loop(L), &work, on_work, on_done);
    struct task_left left = vm_close(L);
    assert_int_equal(left.handles, 0);
    assert_true(left.work);
    uv_sem_post(&never); /* exit() joins the thread */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_state_leaves_nothing),
        cmocka_unit_test(handles_that_nobody_closed_are_counted),
        cmocka_unit_test(work_that_does_not_end_is_not_awaited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
