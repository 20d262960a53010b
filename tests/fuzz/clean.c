/* Text for a terminal: nothing that a terminal obeys is left, and cleaning again changes
   nothing. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "secret/log_clean.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct buf *out, bool lines)
{
    for (size_t i = 0; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];
        if ((c < 0x20 || c == 0x7f) && !(lines && (c == '\n' || c == '\t')))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *text = (const char *)data;
    struct buf once, again, last;
    buf_init(&once);
    buf_init(&again);
    buf_init(&last);
    log_clean(text, len, &once);
    check(&once, true);
    log_clean(buf_text(&once), once.len, &again);
    if (again.len != once.len || memcmp(buf_text(&again), buf_text(&once), once.len) != 0)
        abort();
    text_clean(&last, text, len);
    check(&last, false);
    text_last_lines(&last, text, len, 3);
    check(&last, false);
    buf_fini(&last);
    buf_fini(&again);
    buf_fini(&once);
    return 0;
}
