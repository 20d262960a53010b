/* Database URLs: any bytes give a URL, which has a form for libpq, or an error. */
#include <stdint.h>

#include "formats/dburl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dburl url;
    struct buf text, out;
    buf_init(&text);
    buf_init(&out);
    buf_add(&text, (const char *)data, len);
    struct err *e = dburl_parse(buf_text(&text), len, &url);
    if (!e && url.dialect && *url.dialect == 'p')
        dburl_libpq(&url, &out);
    err_free(e);
    dburl_fini(&url);
    buf_fini(&out);
    buf_fini(&text);
    return 0;
}
