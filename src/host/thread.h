/* Threads that are ours and not the program's.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_THREAD_H
#define M5_HOST_THREAD_H

#include <pthread.h>

/* As pthread_create(3), with all signals blocked: they are for the threads of the program that we
 * are part of. 0, or an errno value. */
int m5_thread_start(pthread_t *thread, void *(*run)(void *ctx), void *ctx);

#endif
