/* The allocator that every object of the library is given.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_ALLOCATOR_H
#define MQTT5_ALLOCATOR_H

#include <stddef.h>

/** Memory for one object and all it makes. The table is borrowed and must outlive that object.
 *  A table shared by objects that run on different threads must itself be safe for threads. */
struct mqtt5_allocator {
    void *ctx; /**< passed back unchanged */

    /** Returns @p size bytes (size > 0) aligned for any object, or NULL when there are none. */
    void *(*alloc)(void *ctx, size_t size);

    /** Gives back what alloc returned for the same @p size. @p memory is never NULL. */
    void (*free)(void *ctx, void *memory, size_t size);
};

#endif
