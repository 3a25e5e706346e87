/* Files, text and exit through a debugger or an emulator: the Arm semihosting calls that the harness needs. */

#ifndef TINYC_SEMIHOSTING_H
#define TINYC_SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

/* Opens a file, relative to where the emulator was started; a handle, or -1. The name ":tt" is the standard output. */
int32_t tinyc_semihosting_open(const char *name, int for_writing);

/* Reads up to `bytes` bytes; how many there were. */
size_t tinyc_semihosting_read(int32_t handle, void *data, size_t bytes);

/* 0 when all bytes were written. */
int tinyc_semihosting_write(int32_t handle, const void *data, size_t bytes);

/* 0 when the file was closed. */
int tinyc_semihosting_close(int32_t handle);

/* Ends the emulator with `status` as its exit code. */
void tinyc_semihosting_exit(int status) __attribute__((noreturn));

#endif
