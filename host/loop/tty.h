#pragma once
/* Questions at the terminal whose answer is not shown. The terminal's settings are
   changed while a question stands, and given back when it is answered, cancelled, or when
   the process is about to end. */

/* Gives the terminal back at once. For a signal handler that ends the process. */
void tty_restore(void);
