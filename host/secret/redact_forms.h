#pragma once
#include <stddef.h>

#include "secret/trie.h"

/* Values shorter than this are not masked: they would turn ordinary words into asterisks.
 */
enum { REDACT_MIN = 4 };

/* Adds the patterns of one secret value. URL-encoded and escaped forms are not patterns:
   the redactor decodes while it reads, which covers every mixture an encoder may choose.
 */
void redact_forms_add(struct trie *t, const char *data, size_t len);
