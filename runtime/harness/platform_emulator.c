/* The harness on an emulated part: everything goes through semihosting. */

#include "../startup/semihosting.h"
#include "platform.h"

extern uint32_t _stack_start[];

int main(void);

int32_t tinyc_platform_open(const char *name, int for_writing)
{
    return tinyc_semihosting_open(name, for_writing);
}

size_t tinyc_platform_read(int32_t handle, void *data, size_t bytes)
{
    return tinyc_semihosting_read(handle, data, bytes);
}

int tinyc_platform_write(int32_t handle, const void *data, size_t bytes)
{
    return tinyc_semihosting_write(handle, data, bytes);
}

int tinyc_platform_close(int32_t handle)
{
    return tinyc_semihosting_close(handle);
}

void tinyc_platform_print(const char *text, size_t length)
{
    static int32_t console = -1;
    if (console < 0) {
        console = tinyc_semihosting_open(":tt", 1);
    }
    (void)tinyc_semihosting_write(console, text, length);
}

uint32_t *tinyc_platform_stack_limit(void)
{
    return _stack_start;
}

int main(void)
{
    tinyc_semihosting_exit(tinyc_harness_run());
}
