#pragma once
/* The redactor: what it looks for, and the streaming filter that masks it. */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Masks these bytes for the rest of the process, in redactors that exist already too: the
   value, each line of it, the passwords of URLs in it, and all their forms. */
void redact_register(const char *data, size_t len);

/* A value that equals this word is not masked from now on: "true", or a word that a
   committed file contains. */
void redact_public(const char *word, size_t len);

/* A streaming filter: what it lets through goes to `write`. A possible beginning of a
   secret is held back until the next bytes decide. */
struct redactor;
typedef void (*redactor_write)(void *data, const char *bytes, size_t len);
struct redactor *redactor_new(redactor_write write, void *data);
void redactor_feed(struct redactor *r, const char *bytes, size_t len);
void redactor_flush(struct redactor *r); /* the end: nothing more will follow */
void redactor_free(struct redactor *r);

/* One whole text at once. */
void secret_redact(const char *bytes, size_t len, struct buf *out);
