/* JSON walked where it lies: what passes the check is walked to its end. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void walk(struct json_reader *r)
{
    char c = json_peek(r);
    struct buf text;
    if (c != '{' && c != '[') {
        buf_init(&text);
        if (!json_scalar(r, &text) && c != 'n')
            abort();
        buf_fini(&text);
        return;
    }
    struct json_walk w;
    json_walk_init(&w, r);
    while (json_walk_next(&w, r)) {
        struct json_reader inside = *r;
        walk(&inside);
        if (!json_skip(r))
            abort();
    }
    json_walk_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t at;
    if (len > 512) /* each value is read again by those around it */
        len = 512;
    if (json_check((const char *)data, len, &at)) {
        if (at > len)
            abort();
        return 0;
    }
    struct json_reader r = json_reader((const char *)data, len);
    walk(&r);
    return 0;
}
