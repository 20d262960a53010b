#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "mem.h"

void *vault_alloc(size_t size)
{
    void *p = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fputs("dgrun: out of memory\n", stderr);
        abort();
    }
    /* Both may be refused (RLIMIT_MEMLOCK is small in containers); the value is then
       merely as safe as any other memory. */
    (void)mlock(p, size);
    (void)madvise(p, size, MADV_DONTDUMP);
    return p;
}

void vault_free(void *p, size_t size)
{
    if (!p)
        return;
    mem_wipe(p, size);
    munmap(p, size ? size : 1);
}
