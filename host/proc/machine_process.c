/* Three processes:
     front     the child of dgrun, leader of the group. It waits, and ends as the program.
     keeper    in a group of its own, where the signals of the machine do not reach it. It
               answers for the ports, adopts what the program leaves behind, and ends all
               of that with the program, or with the front.
     program   in the front's group, with the filter of port_map.c.
   If the front were its own keeper, a signal that ends the group would end the keeper
   too, and a program that had become a daemon would go on. */
#include "proc/machine_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/port_map.h"

enum { EXIT_NOT_FOUND = 127, EXIT_NOT_STARTED = 126, EXIT_USAGE = 2, EXIT_SIGNAL = 128 };

struct machine {
    struct port_map *map;
    char **argv;
    pid_t front;
    pid_t group; /* of the front */
    pid_t program;
    int listener; /* -1: the program runs without a filter */
    sigset_t mask;
};

/* Dies with its parent; one that is gone already sends no signal. */
static bool end_with(pid_t parent, int signal)
{
    return prctl(PR_SET_PDEATHSIG, signal) == 0 && getppid() == parent;
}

/* Ends as another process did. */
static int end_as(int status)
{
    if (!WIFSIGNALED(status))
        return WEXITSTATUS(status);
    int number = WTERMSIG(status);
    struct rlimit none = {0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    setrlimit(RLIMIT_CORE, &none);
    signal(number, SIG_DFL);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    return EXIT_SIGNAL + number;
}

/* The keeper tells the program whether to install the filter. The program answers with
   the descriptor of the filter, or with the errno that kept it from installing one. Each
   sends one message. */

static void send_listener(int channel, int fd, int error)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {.iov_base = &error, .iov_len = sizeof error};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    (void)sendmsg(channel, &message, MSG_NOSIGNAL);
}

static int receive_listener(int channel, int *error)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {.iov_base = error, .iov_len = sizeof *error};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    int fd = -1;
    *error = ECHILD; /* it ended before it said anything */
    if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) <= 0)
        return -1;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

/* In the child: becomes the program. */
static _Noreturn void become(const struct machine *m, pid_t keeper, int channel)
{
    int verdict = 0;
    if (!end_with(keeper, SIGKILL) || setpgid(0, m->group) < 0 ||
        read(channel, &verdict, sizeof verdict) != sizeof verdict)
        _exit(EXIT_FAILURE);
    if (verdict == 0) {
        int fd = port_map_install();
        send_listener(channel, fd, fd < 0 ? errno : 0);
        if (fd >= 0)
            close(fd);
    }
    close(channel);
    sigprocmask(SIG_SETMASK, &m->mask, NULL);
    execvp(m->argv[0], m->argv);
    int error = errno;
    dprintf(STDERR_FILENO, "cannot start '%s': %s\n", m->argv[0], strerror(error));
    _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_STARTED);
}

/* Ends what is left: the children of the keeper, and theirs, which it adopts then. */
static void end_all(void)
{
    char text[4096];
    for (;;) {
        int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
        ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        text[len > 0 ? len : 0] = '\0';
        char *end = text;
        /* A number that is cut off has no space after it. */
        for (long pid = strtol(text, &end, 10); pid > 0 && *end == ' ';
             pid = strtol(end, &end, 10))
            kill((pid_t)pid, SIGKILL);
        if (end == text || waitpid(-1, NULL, 0) < 0)
            return;
    }
}

/* Did the program end? Buries others that were left to the keeper. */
static bool bury(const struct machine *m, int *status)
{
    int one = 0;
    pid_t pid = 0;
    bool ended = false;
    while ((pid = waitpid(-1, &one, WNOHANG)) > 0) {
        if (pid == m->program) {
            *status = one;
            ended = true;
        }
    }
    return ended;
}

/* Answers until the program or the front ends. → the status of waitpid */
static int serve(const struct machine *m, int signals)
{
    struct pollfd polled[] = {{.fd = signals, .events = POLLIN},
                              {.fd = m->listener, .events = POLLIN}};
    int status = SIGKILL;
    for (;;) {
        if (poll(polled, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return status;
        }
        if (polled[1].revents & POLLIN)
            port_map_answer(m->map, m->listener);
        else if (polled[1].revents)
            polled[1].fd = -1; /* all that had the filter have ended */
        struct signalfd_siginfo info;
        if (!(polled[0].revents & POLLIN) || read(signals, &info, sizeof info) < 0)
            continue;
        if (info.ssi_signo == SIGTERM || bury(m, &status))
            return status;
    }
}

/* Starts the program with the filter, where this system has it. */
static bool start_program(struct machine *m)
{
    int channel[2];
    pid_t keeper = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0)
        return false;
    m->program = fork();
    if (m->program == 0) {
        close(channel[0]);
        become(m, keeper, channel[1]);
    }
    close(channel[1]);
    if (m->program < 0) {
        close(channel[0]);
        return false;
    }
    int error = port_map_probe(m->program);
    int verdict = error;
    (void)send(channel[0], &verdict, sizeof verdict, MSG_NOSIGNAL);
    if (verdict == 0)
        m->listener = receive_listener(channel[0], &error);
    close(channel[0]);
    /* The program has the filter, but its descriptor did not arrive: no one would answer.
     */
    if (m->listener < 0 && error == 0) {
        errno = EMFILE;
        return false;
    }
    if (m->listener < 0 && error != ECHILD)
        port_map_unsupported(m->map, error);
    return true;
}

static int keep(struct machine *m)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    if (!end_with(m->front, SIGTERM))
        return EXIT_FAILURE;
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || setpgid(0, 0) < 0 ||
        !start_program(m)) {
        dprintf(STDERR_FILENO, "cannot start a machine: %s\n", strerror(errno));
        end_all();
        return EXIT_FAILURE;
    }
    int status = serve(m, signals);
    if (m->listener >= 0)
        close(m->listener);
    end_all();
    port_map_free(m->map);
    return end_as(status);
}

int machine_process_main(int argc, char **argv)
{
    if (argc < 3) {
        dprintf(STDERR_FILENO,
                "usage: " MACHINE_PROCESS_WORD " ASKED:GIVEN REPORT PROGRAM\n");
        return EXIT_USAGE;
    }
    struct machine m = {
        .argv = argv + 2, .front = getpid(), .group = getpgrp(), .listener = -1};
    int report = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    m.map = port_map_new(argv[0], report);
    if (!m.map || report < 0) {
        dprintf(STDERR_FILENO, "cannot start a machine with the ports '%s' and %s: %s\n",
                argv[0], argv[1], report < 0 ? strerror(errno) : "malformed");
        port_map_free(m.map);
        return EXIT_USAGE;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Signals to the group are the program's; this process ends with it. */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &m.mask);
    int status = EXIT_FAILURE << 8;
    pid_t keeper = fork();
    if (keeper == 0)
        _exit(keep(&m));
    if (keeper < 0 || waitpid(keeper, &status, 0) < 0)
        dprintf(STDERR_FILENO, "cannot start a machine: %s\n", strerror(errno));
    port_map_free(m.map);
    close(report);
    return end_as(status);
}
