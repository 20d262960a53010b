/* Alembic's revision files. */
#include <stdint.h>

#include "formats/migrations_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct revision revision;
    struct buf text;
    buf_init(&text);
    buf_add(&text, (const char *)data, len);
    struct err *e = revision_scan(&revision, buf_text(&text), len, "file");
    if (e)
        err_free(e);
    else
        revision_fini(&revision);
    buf_fini(&text);
    return 0;
}
