/* trie_add only extends the tree and raises the generation. trie_link computes the links
   of the whole tree, breadth first, in one pass over the nodes, and records the
   generation that it saw. Nodes are known by their numbers, because the array moves when
   it grows: no pointer to a node may be kept across trie_add. */
#include "secret/trie.h"

#include <string.h>

#include "base/mem.h"
#include "secret/vault.h"

enum { FIRST_CAPACITY = 1024, WRAP_DEPTH = 4 };

void trie_init(struct trie *t)
{
    *t = (struct trie){.count = 1, .capacity = FIRST_CAPACITY, .generation = 1};
    t->nodes = vault_alloc(t->capacity * sizeof *t->nodes);
}

static uint32_t add_node(struct trie *t, uint32_t parent, unsigned char byte)
{
    if (t->count == t->capacity) {
        size_t old = t->capacity * sizeof *t->nodes;
        struct trie_node *nodes = vault_alloc(2 * old);
        memcpy(nodes, t->nodes, old);
        vault_free(t->nodes, old);
        t->nodes = nodes;
        t->capacity *= 2;
    }
    uint32_t n = t->count++;
    struct trie_node *node = &t->nodes[n];
    *node = (struct trie_node){.byte = byte, .depth = t->nodes[parent].depth + 1};
    if (parent) {
        node->sibling = t->nodes[parent].child;
        t->nodes[parent].child = n;
    } else {
        t->first[byte] = n;
    }
    return n;
}

static uint32_t find_child(const struct trie *t, uint32_t parent, unsigned char byte)
{
    if (!parent)
        return t->first[byte];
    uint32_t n = t->nodes[parent].child;
    while (n && t->nodes[n].byte != byte)
        n = t->nodes[n].sibling;
    return n;
}

void trie_add(struct trie *t, const char *bytes, size_t len, bool wraps)
{
    uint32_t state = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        uint32_t next = find_child(t, state, byte);
        state = next ? next : add_node(t, state, byte);
        if (wraps && i + 1 >= WRAP_DEPTH && !t->nodes[state].wraps) {
            t->nodes[state].wraps = true;
            t->generation++;
        }
    }
    if (!state || t->nodes[state].last)
        return;
    t->nodes[state].last = true;
    t->generation++;
    if (len > t->max_depth)
        t->max_depth = (uint32_t)len;
}

static void link_node(struct trie *t, uint32_t parent, uint32_t n)
{
    struct trie_node *node = &t->nodes[n];
    node->fail = parent ? trie_step(t, t->nodes[parent].fail, node->byte) : 0;
    const struct trie_node *fail = &t->nodes[node->fail];
    node->longest = node->last ? node->depth : fail->longest;
    node->resume = node->child ? n : fail->resume;
    node->wraps = node->wraps || fail->wraps;
}

/* Breadth first: a node's suffixes are shorter, so they are linked before it. */
void trie_link(struct trie *t)
{
    if (t->linked == t->generation)
        return;
    uint32_t *queue = mem_array(t->count, sizeof *queue);
    size_t head = 0, tail = 0;
    for (size_t byte = 0; byte < 256; byte++) {
        if (!t->first[byte])
            continue;
        link_node(t, 0, t->first[byte]);
        queue[tail++] = t->first[byte];
    }
    while (head < tail) {
        uint32_t parent = queue[head++];
        for (uint32_t n = t->nodes[parent].child; n; n = t->nodes[n].sibling) {
            link_node(t, parent, n);
            queue[tail++] = n;
        }
    }
    mem_free(queue);
    t->linked = t->generation;
}
