/* The redactor: the text may be cut anywhere, and what comes out holds no secret as it
   stands, nor decoded once or twice. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/percent.h"
#include "secret/redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const secrets[] = {"hunter2!hunter", "a%b/c+d e", "ab\\n\"q",
                                      "x&<y>\n z z",    "aaaaaa",    "q%41r/s t"};

static void on_text(void *data, const char *bytes, size_t len)
{
    buf_add(data, bytes, len);
}

static void redact(const char *text, size_t len, size_t step, struct buf *out)
{
    buf_init(out);
    struct redactor *r = redactor_new(on_text, out);
    for (size_t i = 0; i < len; i += step)
        redactor_feed(r, text + i, len - i < step ? len - i : step);
    redactor_flush(r);
    redactor_free(r);
}

static void check(const struct buf *out)
{
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        if (out->len && memmem(out->data, out->len, secrets[i], strlen(secrets[i])))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static bool registered;
    for (size_t i = 0; !registered && i < sizeof secrets / sizeof *secrets; i++)
        redact_register(secrets[i], strlen(secrets[i]));
    registered = true;
    struct buf whole, cut, decoded, twice;
    redact((const char *)data, len, len ? len : 1, &whole);
    redact((const char *)data, len, 1 + len % 7, &cut);
    if (whole.len != cut.len || memcmp(buf_text(&whole), buf_text(&cut), cut.len) != 0)
        abort();
    check(&whole);
    for (int plus = 0; plus < 2; plus++) {
        buf_init(&decoded);
        buf_init(&twice);
        percent_decode(&decoded, buf_text(&whole), whole.len, plus > 0);
        check(&decoded);
        percent_decode(&twice, buf_text(&decoded), decoded.len, plus);
        check(&twice);
        buf_fini(&decoded);
        buf_fini(&twice);
    }
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
