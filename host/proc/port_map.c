/* How it works: the program runs under a seccomp filter that asks its parent at each
   bind, listen, connect and getsockname (SECCOMP_RET_USER_NOTIF, seccomp_unotify(2)). The
   parent fetches a duplicate of the socket (pidfd_getfd(2)), binds it to the port that
   stands for the asked one on loopback, and answers for the kernel. A connect to loopback
   follows the same table, and getsockname reads it backwards.

   Unlike a preloaded library this reaches static programs. Unlike a network namespace it
   leaves the program the network of this system: databases on loopback and servers
   elsewhere. It needs no user namespaces, only Linux 5.6. It is a convenience, not a
   boundary: a program that means to can evade it.

   The race: before Linux 5.19 a signal may interrupt the program while its bind is
   answered here. The kernel then asks again, for a socket that is bound already;
   `is_bound_as` knows it. */
#include "proc/port_map.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

enum {
    PORTS = 64,
    LAST_PORT = 65535,
    SHORT_V6 = 24, /* the kernel takes addresses without sin6_scope_id */
    CONNECT_SECONDS = 2,
};

enum family { V4 = 1, V6_ONLY = 2 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct mapping {
    uint16_t asked;
    uint16_t given; /* 0: any */
    bool is_udp;
    unsigned bound;     /* families */
    unsigned reported;  /* families */
    union address host; /* that was asked for */
};

struct port_map {
    struct mapping ports[PORTS]; /* the first is the service's */
    size_t count;
    int report;
    bool is_told;       /* why something is not mapped */
    bool has_ephemeral; /* a socket that asked for any port is on loopback */
};

/* One system call of the program. */
struct question {
    struct port_map *map;
    int listener;
    const struct seccomp_notif *asked;
    union address address;
    bool is_udp;
};

/* What the kernel asks, in memory of the size that it says. */
union notice {
    struct seccomp_notif notif;
    unsigned char bytes[512];
};

/* The kernel goes on with the call. Other answers are 0 or an errno. */
enum { CONTINUE = -1 };

static const char *read_pair(const char *text, struct mapping *port)
{
    char *end = NULL;
    long asked = strtol(text, &end, 10);
    if (end == text || *end != ':' || asked < 0 || asked > LAST_PORT)
        return NULL;
    text = end + 1;
    long given = strtol(text, &end, 10);
    if (end == text || given < 0 || given > LAST_PORT)
        return NULL;
    port->asked = (uint16_t)asked;
    port->given = (uint16_t)given;
    return end;
}

struct port_map *port_map_new(const char *ports, int report)
{
    struct port_map *map = mem_alloc(sizeof *map);
    map->report = report;
    for (const char *at = ports; at && map->count < PORTS; at++) {
        struct mapping *port = &map->ports[map->count];
        at = read_pair(at, port);
        if (!at)
            break;
        port->bound = map->count > 0 ? V4 : 0;
        map->count++;
        if (*at == '\0')
            return map;
        if (*at != ',')
            break;
    }
    port_map_free(map);
    return NULL;
}

void port_map_free(struct port_map *map) { mem_free(map); }

static void tell(struct port_map *map, const char *what, int error)
{
    if (map->report >= 0 && !map->is_told)
        dprintf(map->report, "%s %s\n", what, strerror(error));
    map->is_told = true;
}

void port_map_unsupported(struct port_map *map, int error)
{
    tell(map, "unsupported", error);
}

/* Addresses. */

static uint16_t port_of(const union address *address)
{
    return ntohs(address->any.sa_family == AF_INET ? address->v4.sin_port
                                                   : address->v6.sin6_port);
}

static void set_port(union address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET)
        address->v4.sin_port = htons(port);
    else
        address->v6.sin6_port = htons(port);
}

static socklen_t size_of(const union address *address)
{
    return address->any.sa_family == AF_INET ? sizeof address->v4 : sizeof address->v6;
}

/* Loopback; an unspecified address means it too where one connects to it. */
static bool is_loopback(const union address *address, bool is_target)
{
    if (address->any.sa_family == AF_INET) {
        uint32_t host = ntohl(address->v4.sin_addr.s_addr);
        return host >> 24 == IN_LOOPBACKNET || (is_target && host == INADDR_ANY);
    }
    const struct in6_addr *host = &address->v6.sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(host) || (is_target && IN6_IS_ADDR_UNSPECIFIED(host)) ||
           (IN6_IS_ADDR_V4MAPPED(host) && host->s6_addr[12] == IN_LOOPBACKNET);
}

/* Makes an address one of loopback with this port, in the same family. */
static void to_loopback(union address *address, uint16_t port, bool v6_only)
{
    static const unsigned char v4_mapped[16] = {[10] = 0xff, [11] = 0xff, 127, 0, 0, 1};
    set_port(address, port);
    if (address->any.sa_family == AF_INET) {
        address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return;
    }
    address->v6.sin6_scope_id = 0;
    if (v6_only)
        address->v6.sin6_addr = in6addr_loopback;
    else
        memcpy(&address->v6.sin6_addr, v4_mapped, sizeof v4_mapped);
}

static bool local_address(int fd, union address *address)
{
    socklen_t len = sizeof *address;
    memset(address, 0, sizeof *address);
    return getsockname(fd, &address->any, &len) == 0 &&
           (address->any.sa_family == AF_INET || address->any.sa_family == AF_INET6);
}

static uint16_t bound_port(int fd)
{
    union address address;
    return local_address(fd, &address) ? port_of(&address) : 0;
}

static bool is_v6_only(int fd, const union address *address)
{
    int only = 0;
    socklen_t len = sizeof only;
    return address->any.sa_family == AF_INET6 &&
           getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) == 0 && only != 0;
}

/* The program's memory and sockets. */

static bool copy(const struct question *q, uint64_t theirs, void *ours, size_t len,
                 bool is_write)
{
    struct iovec here = {.iov_base = ours, .iov_len = len};
    struct iovec there = {.iov_base = (void *)(uintptr_t)theirs, .iov_len = len};
    pid_t pid = (pid_t)q->asked->pid;
    ssize_t done = is_write ? process_vm_writev(pid, &here, 1, &there, 1, 0)
                            : process_vm_readv(pid, &here, 1, &there, 1, 0);
    return done == (ssize_t)len;
}

static bool is_refusal(int error)
{
    return error == EPERM || error == EACCES || error == ENOSYS;
}

/* The address that a bind or a connect points to; 0, CONTINUE where it is none of ours,
   or an errno. */
static int read_address(struct question *q)
{
    size_t len = (uint32_t)q->asked->data.args[2];
    union address *address = &q->address;
    memset(address, 0, sizeof *address);
    if (len < sizeof address->v4 || len > sizeof(struct sockaddr_storage))
        return CONTINUE;
    if (!copy(q, q->asked->data.args[1], address,
              len < sizeof *address ? len : sizeof *address, false))
        return is_refusal(errno) ? errno : CONTINUE;
    /* ip(7): an unspecified family was once that of IPv4. */
    if (address->any.sa_family == AF_UNSPEC && q->asked->data.nr == SYS_bind)
        address->any.sa_family = AF_INET;
    bool is_ours = (address->any.sa_family == AF_INET6 && len >= SHORT_V6) ||
                   address->any.sa_family == AF_INET;
    return is_ours ? 0 : CONTINUE;
}

/* A thread asks, but descriptors belong to its process: proc_pid_status(5), Tgid. */
static pid_t process_of(pid_t thread)
{
    char path[48];
    char text[512];
    snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return thread;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    const char *line = strstr(text, "\nTgid:");
    return line ? (pid_t)strtol(line + strlen("\nTgid:"), NULL, 10) : thread;
}

/* A descriptor of another process as one of ours, or -1 with errno. */
static int take_descriptor(pid_t process, int number)
{
    int pidfd = (int)syscall(SYS_pidfd_open, process, 0);
    if (pidfd < 0)
        return -1;
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    int error = errno;
    close(pidfd);
    errno = error;
    return fd;
}

/* The socket of the call, where it is one of TCP or UDP; else -1, with errno 0 where the
   kernel may go on. */
static int take_socket(struct question *q)
{
    int fd =
        take_descriptor(process_of((pid_t)q->asked->pid), (int)q->asked->data.args[0]);
    if (fd < 0) {
        errno = is_refusal(errno) ? errno : 0;
        return -1;
    }
    int type = 0;
    int domain = 0;
    socklen_t len = sizeof type;
    /* Only now is it certain that the number was still that of the asking process. */
    bool is_ours = ioctl(q->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &q->asked->id) == 0 &&
                   getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
                   getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
                   (domain == AF_INET || domain == AF_INET6) &&
                   (type == SOCK_STREAM || type == SOCK_DGRAM);
    q->is_udp = type == SOCK_DGRAM;
    if (is_ours)
        return fd;
    close(fd);
    errno = 0;
    return -1;
}

int port_map_probe(pid_t child)
{
    int here = 0;
    int there = 0;
    struct iovec ours = {.iov_base = &there, .iov_len = sizeof there};
    struct iovec theirs = {.iov_base = &here, .iov_len = sizeof here};
    int fd = take_descriptor(child, STDERR_FILENO);
    if (fd < 0)
        return errno;
    close(fd);
    return process_vm_readv(child, &ours, 1, &theirs, 1, 0) < 0 ? errno : 0;
}

/* The table. */

static struct mapping *find_asked(const struct question *q, uint16_t port)
{
    struct port_map *map = q->map;
    for (size_t i = 0; i < map->count; i++) {
        struct mapping *known = &map->ports[i];
        if (port != 0 && known->is_udp == q->is_udp &&
            (known->asked == port || (i == 0 && known->given == port)))
            return known;
    }
    return NULL;
}

static struct mapping *find_given(const struct question *q, uint16_t port)
{
    for (size_t i = 0; i < q->map->count; i++) {
        struct mapping *known = &q->map->ports[i];
        if (port != 0 && known->is_udp == q->is_udp && known->given == port)
            return known;
    }
    return NULL;
}

/* One for a port that is not known yet; a table that is full forgets it. */
static struct mapping *add_mapping(const struct question *q, struct mapping *spare)
{
    struct port_map *map = q->map;
    struct mapping *port = map->count < PORTS ? &map->ports[map->count++] : spare;
    *port = (struct mapping){.asked = port_of(&q->address), .is_udp = q->is_udp};
    return port;
}

static void report_listen(const struct question *q, struct mapping *port)
{
    char host[INET6_ADDRSTRLEN];
    unsigned fresh = port->bound & ~port->reported;
    if (q->map->report < 0 || fresh == 0)
        return;
    port->reported |= fresh;
    const union address *asked = &port->host;
    const void *bytes = asked->any.sa_family == AF_INET
                            ? (const void *)&asked->v4.sin_addr
                            : &asked->v6.sin6_addr;
    if (!inet_ntop(asked->any.sa_family, bytes, host, sizeof host))
        return;
    dprintf(q->map->report, "listen %s %s %u %s %u\n", q->is_udp ? "udp" : "tcp", host,
            port->asked, fresh & V4 ? "127.0.0.1" : "::1", port->given);
}

/* The calls. Each answers 0, an errno, or CONTINUE. */

static bool is_bound_as(int fd, const struct mapping *port)
{
    return port->given != 0 && bound_port(fd) == port->given;
}

/* Binds to the port that stands for the asked one. Where somebody else took it before the
   program's first bind, another one does. */
static int bind_to(int fd, const struct question *q, struct mapping *port, bool v6_only)
{
    union address here = q->address;
    to_loopback(&here, port->given, v6_only);
    if (bind(fd, &here.any, size_of(&here)) == 0)
        return 0;
    int error = errno;
    if (error == EINVAL && is_bound_as(fd, port))
        return 0;
    if (error != EADDRINUSE || port->bound != 0 || port->given == 0)
        return error;
    set_port(&here, 0);
    return bind(fd, &here.any, size_of(&here)) == 0 ? 0 : errno;
}

static int bind_mapped(int fd, struct question *q)
{
    struct mapping spare;
    bool v6_only = is_v6_only(fd, &q->address);
    struct mapping *port = find_asked(q, port_of(&q->address));
    if (!port)
        port = add_mapping(q, &spare);
    int error = bind_to(fd, q, port, v6_only);
    if (error)
        return error;
    port->given = bound_port(fd);
    port->bound |= v6_only ? V6_ONLY : V4;
    port->host = q->address;
    if (q->is_udp)
        report_listen(q, port);
    return 0;
}

/* Binds to a port that the kernel chooses. It is on loopback, so that other computers
   cannot reach the program if it listens there. */
static int bind_ephemeral(int fd, struct question *q)
{
    union address here = q->address;
    to_loopback(&here, 0, is_v6_only(fd, &here));
    if (bind(fd, &here.any, size_of(&here)) < 0)
        return errno == EINVAL && bound_port(fd) != 0 ? 0 : errno;
    q->map->has_ephemeral = true;
    return 0;
}

static int on_bind(int fd, struct question *q)
{
    if (port_of(&q->address) != 0)
        return bind_mapped(fd, q);
    if (q->is_udp || is_loopback(&q->address, false))
        return CONTINUE;
    return bind_ephemeral(fd, q);
}

static int on_listen(int fd, struct question *q)
{
    union address here;
    if (q->is_udp || !local_address(fd, &here))
        return CONTINUE;
    struct mapping *port = find_given(q, port_of(&here));
    if (port)
        report_listen(q, port);
    if (port_of(&here) != 0)
        return CONTINUE;
    q->address = here;
    int error = bind_ephemeral(fd, q);
    return error ? error : CONTINUE;
}

/* Connects for the program. A blocking socket would block everyone who asks: a server of
   the same machine that does not accept gets some seconds. */
static int connect_to(int fd, const union address *address)
{
    struct timeval before = {0};
    struct timeval limit = {.tv_sec = CONNECT_SECONDS};
    socklen_t len = sizeof before;
    bool is_blocking = (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
    if (is_blocking &&
        (getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &before, &len) < 0 ||
         setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0))
        return errno;
    int error = connect(fd, &address->any, size_of(address)) < 0 ? errno : 0;
    if (!is_blocking)
        return error;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &before, sizeof before);
    return error == EINPROGRESS ? ETIMEDOUT : error;
}

/* A socket that was bound to any port of any address is on loopback here, from where
   nothing outside is reached: a new one takes its place before it connects. */
static int leave_loopback(int fd, const struct question *q)
{
    union address here;
    if (q->is_udp || !local_address(fd, &here) || port_of(&here) == 0 ||
        !is_loopback(&here, false))
        return CONTINUE;
    int flags = fcntl(fd, F_GETFL);
    int fresh =
        socket(here.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | (flags & O_NONBLOCK), 0);
    struct seccomp_notif_addfd change = {
        .id = q->asked->id,
        .flags = SECCOMP_ADDFD_FLAG_SETFD,
        .srcfd = (uint32_t)fresh,
        .newfd = (uint32_t)q->asked->data.args[0],
        .newfd_flags = O_CLOEXEC,
    };
    if (fresh < 0)
        return errno;
    (void)ioctl(q->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &change);
    close(fresh);
    return CONTINUE;
}

static int on_connect(int fd, struct question *q)
{
    if (!is_loopback(&q->address, true))
        return leave_loopback(fd, q);
    const struct mapping *port = find_asked(q, port_of(&q->address));
    if (!port || port->given == 0 || port->given == port_of(&q->address))
        return CONTINUE;
    to_loopback(&q->address, port->given, port->bound == V6_ONLY);
    return connect_to(fd, &q->address);
}

/* The name that the program gave its socket: the port, and the host of one that listens.
 */
static int on_getsockname(int fd, struct question *q)
{
    union address here;
    union address peer;
    socklen_t room = 0;
    socklen_t len = sizeof peer;
    if (!local_address(fd, &here))
        return CONTINUE;
    const struct mapping *port = find_given(q, port_of(&here));
    if (!port || !copy(q, q->asked->data.args[2], &room, sizeof room, false))
        return CONTINUE;
    if (getpeername(fd, &peer.any, &len) < 0 &&
        port->host.any.sa_family == here.any.sa_family)
        here = port->host;
    set_port(&here, port->asked);
    len = size_of(&here);
    if (!copy(q, q->asked->data.args[1], &here, room < len ? room : len, true) ||
        !copy(q, q->asked->data.args[2], &len, sizeof len, true))
        return CONTINUE;
    return 0;
}

static const struct call {
    int (*answer)(int fd, struct question *q);
    int number;
    bool has_address;
} calls[] = {
    {on_bind, SYS_bind, true},
    {on_connect, SYS_connect, true},
    {on_listen, SYS_listen, false},
    {on_getsockname, SYS_getsockname, false},
};

/* Is this call worth a look at its socket? */
static bool concerns_us(const struct question *q, const struct call *call)
{
    return call->number != SYS_connect || is_loopback(&q->address, true) ||
           q->map->has_ephemeral;
}

static int decide(struct question *q, const struct call *call)
{
    int error = call->has_address ? read_address(q) : 0;
    if (error == CONTINUE || (error == 0 && !concerns_us(q, call)))
        return CONTINUE;
    int fd = error ? -1 : take_socket(q);
    if (fd < 0) {
        error = error ? error : errno;
        if (error == 0 || (call->number != SYS_bind && call->number != SYS_listen))
            return CONTINUE;
        tell(q->map, "refused", error);
        return EACCES;
    }
    error = call->answer(fd, q);
    close(fd);
    return error;
}

void port_map_answer(struct port_map *map, int listener)
{
    union notice notice;
    memset(&notice, 0, sizeof notice);
    /* ENOENT: who asked is gone. */
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notice.notif) < 0)
        return;
    struct question question = {.map = map, .listener = listener, .asked = &notice.notif};
    struct seccomp_notif_resp response = {.id = notice.notif.id,
                                          .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (calls[i].number != notice.notif.data.nr)
            continue;
        int error = decide(&question, &calls[i]);
        if (error != CONTINUE) {
            response.flags = 0;
            response.error = -error;
        }
    }
    (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* The filter. io_uring binds without a system call that it sees; programs do without it,
   as they must in many containers. */
int port_map_install(void)
{
#ifndef ARCH
    errno = ENOSYS;
    return -1;
#else
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bind, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_listen, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockname, 2, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    struct seccomp_notif_sizes sizes = {0};
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
        return -1;
    if (sizes.seccomp_notif > sizeof(union notice) ||
        sizes.seccomp_notif_resp > sizeof(struct seccomp_notif_resp)) {
        errno = ENOSYS;
        return -1;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    unsigned long flags =
        SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (fd < 0 && errno == EINVAL)
        fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                     SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    return (int)fd;
#endif
}
