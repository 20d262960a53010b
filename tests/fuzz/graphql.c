/* GraphQL documents: one that begins with a mutation is never taken for a query. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "http/graphql.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf text;
    buf_init(&text);
    buf_add(&text, (const char *)data, len);
    graphql_is_query(buf_text(&text));
    buf_drop(&text, text.len);
    buf_add_text(&text, "mutation { a }\n");
    buf_add(&text, (const char *)data, len);
    if (graphql_is_query(buf_text(&text)))
        abort();
    buf_fini(&text);
    return 0;
}
