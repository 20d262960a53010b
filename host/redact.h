#pragma once
/* What the redactor looks for. The streaming filter itself is declared in secret.h. */
#include <stdbool.h>
#include <stddef.h>

/* Masks these bytes for the rest of the process, in redactors that exist already too: the
   value, each line of it, the passwords of URLs in it, and all their forms. */
void redact_register(const char *data, size_t len);

/* From now on a value that is just this is no secret, and not masked: "true", a word that
   stands in a file for all to see. */
void redact_public(const char *word, size_t len);

/* Values shorter than this are not masked: they would turn ordinary words into asterisks.
 */
enum { REDACT_MIN = 4 };
