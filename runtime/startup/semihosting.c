/* Arm semihosting: the operation in r0, its parameter block in r1, then a breakpoint with the number 0xAB. */

#include "semihosting.h"

#include <string.h>

enum operation {
    OPEN = 0x01,
    CLOSE = 0x02,
    WRITE = 0x05,
    READ = 0x06,
    EXIT = 0x18,
    EXIT_EXTENDED = 0x20
};

/* Modes of fopen, by number: "rb" and "wb". */
enum mode { READ_BINARY = 1, WRITE_BINARY = 5 };

#define REASON_APPLICATION_EXIT 0x20026u

/* Not inlined, so that there is one breakpoint in a program, which emulators can find. */
static __attribute__((noinline)) uint32_t call(enum operation operation, uint32_t parameter)
{
    register uint32_t r0 __asm__("r0") = (uint32_t)operation;
    register uint32_t r1 __asm__("r1") = parameter;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t call_with_block(enum operation operation, const uint32_t *block)
{
    return call(operation, (uint32_t)(uintptr_t)block);
}

int32_t tinyc_semihosting_open(const char *name, int for_writing)
{
    const uint32_t block[3] = {(uint32_t)(uintptr_t)name, for_writing ? WRITE_BINARY : READ_BINARY, strlen(name)};
    return (int32_t)call_with_block(OPEN, block);
}

size_t tinyc_semihosting_read(int32_t handle, void *data, size_t bytes)
{
    const uint32_t block[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)data, bytes};
    const uint32_t missing = call_with_block(READ, block);
    return missing <= bytes ? bytes - missing : 0;
}

int tinyc_semihosting_write(int32_t handle, const void *data, size_t bytes)
{
    const uint32_t block[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)data, bytes};
    return call_with_block(WRITE, block) == 0 ? 0 : -1;
}

int tinyc_semihosting_close(int32_t handle)
{
    const uint32_t block[1] = {(uint32_t)handle};
    return call_with_block(CLOSE, block) == 0 ? 0 : -1;
}

void tinyc_semihosting_exit(int status)
{
    const uint32_t block[2] = {REASON_APPLICATION_EXIT, (uint32_t)status};
    call_with_block(EXIT_EXTENDED, block);
    call(EXIT, status == 0 ? REASON_APPLICATION_EXIT : 0); /* for emulators without the extended call */
    for (;;) {
    }
}
