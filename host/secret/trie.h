#pragma once
/* A set of byte patterns as an Aho–Corasick automaton, in vault memory because its edges
   spell secrets. Patterns are only ever added; trie_link makes additions visible.

   A state is a node's number, 0 the root. Nodes keep their children in a list, since
   almost all have one; the root, where most text is spent, has a table. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trie_node {
    uint32_t child, sibling; /* 0: none */
    uint32_t fail;           /* the longest proper suffix that is a state */
    uint32_t resume;         /* this state, or the longest suffix that can still grow */
    uint32_t depth;
    uint32_t longest; /* length of the longest pattern that ends here; 0: none does */
    unsigned char byte;
    bool last;  /* a pattern ends here */
    bool wraps; /* within a pattern that may be broken by newlines, far enough to tell */
};

struct trie {
    struct trie_node *nodes;
    uint32_t first[256]; /* children of the root */
    uint32_t count, capacity;
    uint32_t max_depth;
    unsigned generation; /* from 1, grows with each pattern */
    unsigned linked;     /* the generation trie_link has seen */
};

void trie_init(struct trie *t);
void trie_add(struct trie *t, const char *bytes, size_t len, bool wraps);
void trie_link(struct trie *t); /* cheap when nothing was added */

/* The next state, before it is taken back to `resume`. */
static inline uint32_t trie_step(const struct trie *t, uint32_t state, unsigned char byte)
{
    while (state) {
        for (uint32_t n = t->nodes[state].child; n; n = t->nodes[n].sibling)
            if (t->nodes[n].byte == byte)
                return n;
        state = t->nodes[state].fail;
    }
    return t->first[byte];
}
