#pragma once
/* One way to read a text in search of the patterns: decoded once or twice, or with the
   newlines within base64 and hexadecimal digits dropped. It is active only while the
   decoded text differs from the source; the rest of the time it would be in the state of
   the plain reading. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secret/trie.h"

/* What is decoded twice comes first: such a reading parts from the one that decodes once,
   which has then read this byte of the source. */
enum reading_kind {
    READING_PERCENT_TWICE,
    READING_FORM_TWICE,
    READING_BACKSLASH_TWICE, /* JSON within JSON */
    READING_PERCENT,
    READING_FORM, /* percent-decoded, with '+' as a space */
    READING_BACKSLASH,
    READING_HTML,
    READING_UNWRAPPED,
    READING_KINDS
};

enum { READING_ESCAPE_MAX = 12, READING_STAGES = 2 };

/* A byte as it is read, and where the source has it. */
struct reading_byte {
    uint64_t start, end;
    unsigned char value;
    bool plain; /* it stands so in the source */
};

/* An escape that is not complete yet. */
struct reading_stage {
    struct reading_byte bytes[READING_ESCAPE_MAX];
    size_t count;
};

struct reading {
    enum reading_kind kind;
    const struct trie *patterns;
    void (*match)(void *data, uint64_t start, uint64_t end); /* positions in the source */
    void *data;
    struct reading *twice; /* the reading that parts from this one; NULL: none */

    bool active;
    bool indent; /* unwrapped: behind a newline, blanks are dropped too */
    uint32_t state;
    uint64_t fork;  /* where it left the plain reading */
    uint64_t count; /* bytes read since then */
    uint64_t plain; /* of those, how many at the end stood so in the source */
    struct reading_stage stages[READING_STAGES]; /* the first one reads the source */
    uint64_t *starts; /* ring: where the last bytes read stand in the source */
    uint64_t ring_mask;
};

/* For new patterns: forgets what it has in hand. */
void reading_reset(struct reading *r);
void reading_fini(struct reading *r);

/* The readings that may part from the plain one at this byte, as bits. */
static inline unsigned reading_parting(unsigned char c)
{
    switch (c) {
    case '%':
        return 1U << READING_PERCENT | 1U << READING_FORM;
    case '+':
        return 1U << READING_FORM;
    case '\\':
        return 1U << READING_BACKSLASH;
    case '&':
        return 1U << READING_HTML;
    case '\n':
    case '\r':
        return 1U << READING_UNWRAPPED;
    default:
        return 0;
    }
}

/* The source has `c` at `at`, and the plain reading is in `plain_state` before it. For an
   active reading, and for one that may part here. Returns whether the reading is active,
   that is, wants to see the next character whatever it is. */
bool reading_feed(struct reading *r, uint32_t plain_state, unsigned char c, uint64_t at);

/* The text ends: what could have become an escape stands for itself. */
void reading_finish(struct reading *r);

/* Where the earliest match begins that an active reading may still find. */
uint64_t reading_pending(const struct reading *r, uint64_t pos);
