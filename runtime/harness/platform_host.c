/* The harness on this machine. It runs in a thread, so that its stack is memory whose limits are known and which may be painted. */

#define _XOPEN_SOURCE 600

#include "platform.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define STACK_BYTES ((size_t)4 << 20)
#define STACK_ALIGNMENT ((size_t)1 << 16)

static void *stack;
static FILE *files[2];

int32_t tinyc_platform_open(const char *name, int for_writing)
{
    for (int32_t handle = 0; handle < 2; handle++) {
        if (files[handle] == NULL) {
            files[handle] = fopen(name, for_writing ? "wb" : "rb");
            return files[handle] == NULL ? -1 : handle;
        }
    }
    return -1;
}

size_t tinyc_platform_read(int32_t handle, void *data, size_t bytes)
{
    return fread(data, 1, bytes, files[handle]);
}

int tinyc_platform_write(int32_t handle, const void *data, size_t bytes)
{
    return fwrite(data, 1, bytes, files[handle]) == bytes ? 0 : -1;
}

int tinyc_platform_close(int32_t handle)
{
    FILE *const file = files[handle];
    files[handle] = NULL;
    return fclose(file) == 0 ? 0 : -1;
}

void tinyc_platform_print(const char *text, size_t length)
{
    (void)fwrite(text, 1, length, stdout);
}

uint32_t *tinyc_platform_stack_limit(void)
{
    return stack;
}

#if defined(TINYC_SANITIZE)
const char *__asan_default_options(void);

/* Looking for leaks needs rights that containers do not give, and nothing here allocates. */
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

static void *run(void *status)
{
    *(int *)status = tinyc_harness_run();
    return NULL;
}

int main(void)
{
    int status = 1;
    pthread_attr_t attributes;
    pthread_t thread;
    if (posix_memalign(&stack, STACK_ALIGNMENT, STACK_BYTES) != 0 || pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstack(&attributes, stack, STACK_BYTES) != 0 || pthread_create(&thread, &attributes, run, &status) != 0 ||
        pthread_join(thread, NULL) != 0) {
        (void)fprintf(stderr, "error: cannot start a thread with a stack of %lu bytes\n", (unsigned long)STACK_BYTES);
        return 1;
    }
    return status;
}
