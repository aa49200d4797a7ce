/* The folder of a store: making it, owning it, setting aside what is damaged.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_STORE_FOLDER_H
#define M5_HOST_STORE_FOLDER_H

#include <mqtt5/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes a sentence to @p why (M5_STORE_WHY_SIZE bytes), cut to fit. */
void m5_say(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As m5_say(), after what is there already. */
void m5_say_more(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Opens @p dir, or -1 with errno. */
int m5_folder_open(const char *dir);

/* As m5_folder_open(), after making the folder and its parents where they are missing (mode 0700),
 * each durable. -1 with a sentence in @p why. */
int m5_folder_make(const char *dir, char *why);

/* Takes the broker's lock; its descriptor, to be closed to let it go, or -1 with a sentence. Given
 * up by the system when the process ends, however it ends. */
int m5_folder_lock(int dir_fd, const char *dir, char *why);

/* The process that holds the lock, or 0: no broker runs on this folder. Changes nothing. */
long m5_folder_owner(int dir_fd);

/* Makes what happened to names in the folder durable; false with errno. */
bool m5_folder_sync(int dir_fd);

/* Renames @p name to "<name>.damaged-<UTC time>", never over another file; the new name is put into
 * @p out. False with errno. */
bool m5_folder_set_aside(int dir_fd, const char *name, char *out, size_t out_size);

/* ms since 1970, and of a clock that only goes forward. */
uint64_t m5_wall_ms(void);
uint64_t m5_steady_us(void);

#endif
