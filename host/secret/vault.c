/* Locks of memory are for whole pages and do not nest: if two values shared a page,
   freeing one would unlock the other (mlock(2)). So each value has pages of its own, from
   mmap, and munmap unlocks them. */
#include "secret/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/mem.h"

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

void vault_close_process(void)
{
    /* AddressSanitizer looks for leaks by tracing its own process. */
#if !defined(__SANITIZE_ADDRESS__)
    if (!getenv("DGRUN_CORE"))
        (void)prctl(PR_SET_DUMPABLE, 0); /* prctl(2) */
#endif
}
