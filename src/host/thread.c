/* Threads that are ours and not the program's.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/thread.h"

#include <signal.h>

int m5_thread_start(pthread_t *thread, void *(*run)(void *ctx), void *ctx)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread begins with it */
    const int error = pthread_create(thread, NULL, run, ctx);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}
