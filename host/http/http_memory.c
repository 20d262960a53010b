/* libcurl's free and realloc do not pass the size of a block, so the allocator is asked
   for it. A block that grows is replaced by a fresh block and wiped: realloc itself would
   leave a copy of the bytes where they were. */
#include "http/http_memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void on_free(void *p)
{
    mem_wipe(p, malloc_usable_size(p));
    free(p);
}

static void *on_realloc(void *p, size_t size)
{
    size_t old = malloc_usable_size(p);
    if (p && size <= old)
        return p;
    void *fresh = malloc(size);
    if (!fresh)
        return NULL;
    if (p) {
        memcpy(fresh, p, old);
        on_free(p);
    }
    return fresh;
}

CURLcode http_memory_init(void)
{
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, on_free, on_realloc, strdup,
                                calloc);
}
