#pragma once
/* Pages for bytes that must not leak: locked in memory where the system allows it, left
   out of core dumps, wiped when freed. */
#include <stddef.h>

void *vault_alloc(size_t size); /* zeroed; ends the process when there is no memory */
void vault_free(void *p, size_t size); /* the size it was allocated with; NULL is fine */

/* No core dump of this process, and no look into its memory or its environment by others
   of the same user: libraries keep copies that no vault can hold. The children are
   themselves again when they execute. DGRUN_CORE, when set, leaves all that open. */
void vault_close_process(void);
