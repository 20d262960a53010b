#pragma once
/* The process of a machine of the local Fly, or of a command in it:

   dgrun --machine-process PORTS REPORT PROGRAM [ARGUMENT…]
   PORTS, and the lines of the file REPORT: port_map.h

   The program runs in this process's group and gets the signals of the group. When it
   ends, or this process does, everything that it started ends too. */

#define MACHINE_PROCESS_WORD "--machine-process"

/* Runs the program and ends as it does: the exit status for main. `argv` begins after
   the word. Call it before the process has threads. */
int machine_process_main(int argc, char **argv);
