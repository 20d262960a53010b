/* Dotenv files: names and values end with a NUL, and lines count up. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "formats/dotenv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void on_entry(void *data, const struct dotenv_entry *entry)
{
    unsigned *line = data;
    if (!strlen(entry->name) || entry->value[entry->len] != '\0' || entry->line < *line)
        abort();
    *line = entry->line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned line = 1;
    struct buf text;
    buf_init(&text);
    buf_add(&text, (const char *)data, len);
    err_free(dotenv_parse(buf_text(&text), len, "file", on_entry, &line));
    buf_fini(&text);
    return 0;
}
