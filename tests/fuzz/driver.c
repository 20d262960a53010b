/* Runs a libFuzzer target where clang's runtime is missing: the seeds, then mutations of
   them, for -max_total_time=SECONDS; -seed=NUMBER repeats a run. Without coverage it
   finds less. What was read last is in crash-TARGET of the working folder when it dies.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { LIMIT = 4096, SEEDS_LIMIT = 256 };

struct input {
    size_t len;
    uint8_t data[LIMIT];
};

static struct input seeds[SEEDS_LIMIT], *current;
static size_t seed_count;
static uint64_t state;

static uint64_t next_random(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void read_seeds(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) && seed_count < SEEDS_LIMIT) {
        char *path = mem_format("%s/%s", folder, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rbe");
        mem_free(path);
        if (!file)
            continue;
        struct input *seed = &seeds[seed_count++];
        seed->len = fread(seed->data, 1, LIMIT, file);
        fclose(file);
    }
    if (dir)
        closedir(dir);
}

/* Puts `len` bytes in the place of `drop` bytes. */
static void replace(struct input *in, size_t at, size_t drop, const uint8_t *bytes,
                    size_t len)
{
    uint8_t copy[LIMIT];
    if (at + drop > in->len || in->len - drop + len > LIMIT || len > LIMIT)
        return;
    if (len)
        memcpy(copy, bytes, len);
    memmove(in->data + at + len, in->data + at + drop, in->len - at - drop);
    memcpy(in->data + at, copy, len);
    in->len += len - drop;
}

static void mutate(struct input *in)
{
    static const char odd[] = "\"'\\%&+=#\n\r\t\0{}[]()<>;:,.$`-_*!@\x7f\x80\xc3\xff";
    const struct input *other = &seeds[next_random(seed_count)];
    size_t at = in->len ? next_random(in->len + 1) : 0;
    size_t rest = in->len - at;
    size_t len = rest ? next_random(rest < 32 ? rest : 32) + 1 : 0;
    uint8_t byte = next_random(2) ? (uint8_t)next_random(256)
                                  : (uint8_t)odd[next_random(sizeof odd - 1)];
    switch (next_random(6)) {
    case 0:
        replace(in, at, rest ? 1 : 0, &byte, 1);
        break;
    case 1:
        replace(in, at, 0, &byte, 1);
        break;
    case 2:
        replace(in, at, len, NULL, 0);
        break;
    case 3:
        for (uint64_t i = next_random(40); i > 0; i--)
            replace(in, at, 0, in->data + at, len);
        break;
    case 4:
        replace(in, at, len, in->data + (in->len ? next_random(in->len - len + 1) : 0),
                len);
        break;
    default:
        if (other->len) {
            size_t from = next_random(other->len);
            replace(in, at, 0, other->data + from, next_random(other->len - from) + 1);
        }
        break;
    }
}

/* A copy of the size of the input, so that the sanitizer sees a read behind it. */
static void run(const struct input *in)
{
    uint8_t *exact = malloc(in->len ? in->len : 1);
    if (!exact)
        abort();
    memcpy(exact, in->data, in->len);
    LLVMFuzzerTestOneInput(exact, in->len);
    free(exact);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void map_current(const char *program)
{
    const char *slash = strrchr(program, '/');
    char *path = mem_format("crash-%s", slash ? slash + 1 : program);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    mem_free(path);
    if (fd < 0 || ftruncate(fd, sizeof *current) != 0)
        abort();
    current = mmap(NULL, sizeof *current, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (current == MAP_FAILED)
        abort();
}

int main(int argc, char **argv)
{
    double seconds = 1;
    unsigned long long runs = 0, seed = (unsigned long long)time(NULL);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-max_total_time=", 16) == 0)
            seconds = strtod(argv[i] + 16, NULL);
        else if (strncmp(argv[i], "-seed=", 6) == 0)
            seed = strtoull(argv[i] + 6, NULL, 10);
        else
            read_seeds(argv[i]);
    }
    if (!seed_count)
        seed_count = 1; /* the empty one */
    state = seed * 2654435761U + 1;
    map_current(argv[0]);
    for (size_t i = 0; i < seed_count; i++) {
        *current = seeds[i];
        run(current);
    }
    for (double end = now() + seconds; now() < end; runs++) {
        *current = seeds[next_random(seed_count)];
        for (uint64_t i = next_random(8) + 1; i > 0; i--)
            mutate(current);
        run(current);
    }
    const char *slash = strrchr(argv[0], '/');
    char *path = mem_format("crash-%s", slash ? slash + 1 : argv[0]);
    unlink(path);
    mem_free(path);
    printf("%s: %llu inputs, -seed=%llu\n", argv[0], runs, seed);
    return 0;
}
