#pragma once
/* Pages for bytes that must not leak: locked in memory where the system allows it, left
   out of core dumps, wiped when freed. */
#include <stddef.h>

void *vault_alloc(size_t size); /* zeroed; ends the process when there is no memory */
void vault_free(void *p, size_t size); /* the size it was allocated with; NULL is fine */
