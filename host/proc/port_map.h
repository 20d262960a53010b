#pragma once
/* The ports of one machine of the local Fly: a program binds the ports that it wants, and
   gets free ones, on loopback. So a program with a fixed port runs many times at once,
   and nothing listens beyond loopback. machine_process.h runs the program. */

#include <sys/types.h>

struct port_map;

/* `ports` is ASKED:GIVEN, and more of them after commas: the port of the machine's
   service with the free port that stands for it, then ports that are bound already.
   `report` is a descriptor for lines, or -1; it stays the caller's. The lines:

   - listen tcp|udp HOST PORT AT_HOST AT_PORT: what the program asked for, and where it is

   - unsupported REASON: ports are not mapped

   - refused REASON: a program that cannot be watched may not bind

   Returns NULL where `ports` is malformed. */
struct port_map *port_map_new(const char *ports, int report);
void port_map_free(struct port_map *map);

/* Can this process see the sockets and the memory of `child`? 0 or an errno. */
int port_map_probe(pid_t child);

/* From now on the kernel asks about the calls of this process and its children. → the
   descriptor that the questions come from, or -1 with errno. */
int port_map_install(void);

/* Answers one question of `listener`. */
void port_map_answer(struct port_map *map, int listener);

void port_map_unsupported(struct port_map *map, int error);
