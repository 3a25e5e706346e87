/* What the harness needs from where it runs: the emulated part (semihosting) or this machine (the C library). */

#ifndef TINYC_PLATFORM_H
#define TINYC_PLATFORM_H

#include <stddef.h>
#include <stdint.h>

/* Opens a file of the working directory; a handle, or -1. */
int32_t tinyc_platform_open(const char *name, int for_writing);

/* Reads up to `bytes` bytes; how many there were. */
size_t tinyc_platform_read(int32_t handle, void *data, size_t bytes);

/* 0 when all bytes were written. */
int tinyc_platform_write(int32_t handle, const void *data, size_t bytes);

/* 0 when the file was closed with all that was written to it. */
int tinyc_platform_close(int32_t handle);

/* Appends `length` characters to the standard output. */
void tinyc_platform_print(const char *text, size_t length);

/* Lowest word of the stack that the harness runs on. */
uint32_t *tinyc_platform_stack_limit(void);

/* Runs all samples; the exit code. Called by the platform's main. */
int tinyc_harness_run(void);

/* The stack pointer of the function that uses it; TINYC_STACK_KNOWN is 0 on machines where it is not known how to read it. */
#if defined(TINYC_SANITIZE)
#define TINYC_STACK_KNOWN 0
#elif defined(__arm__)
#define TINYC_STACK_KNOWN 1
#define TINYC_READ_STACK_POINTER(variable) __asm__ volatile("mov %0, sp" : "=r"(variable))
#elif defined(__x86_64__)
#define TINYC_STACK_KNOWN 1
#define TINYC_READ_STACK_POINTER(variable) __asm__ volatile("movq %%rsp, %0" : "=r"(variable))
#elif defined(__aarch64__)
#define TINYC_STACK_KNOWN 1
#define TINYC_READ_STACK_POINTER(variable) __asm__ volatile("mov %0, sp" : "=r"(variable))
#else
#define TINYC_STACK_KNOWN 0
#endif

/* With AddressSanitizer (TINYC_SANITIZE) memory can be made untouchable for a while; elsewhere these do nothing. */
#if defined(TINYC_SANITIZE)
void __asan_poison_memory_region(void const volatile *address, size_t bytes);
void __asan_unpoison_memory_region(void const volatile *address, size_t bytes);
#define TINYC_FORBID(address, bytes) __asan_poison_memory_region(address, bytes)
#define TINYC_ALLOW(address, bytes) __asan_unpoison_memory_region(address, bytes)
#else
#define TINYC_FORBID(address, bytes) ((void)0)
#define TINYC_ALLOW(address, bytes) ((void)0)
#endif

/* On the part the arena has a place of its own in the linker script, or each of several arenas has; zeroed at start-up nowhere. */
#if defined(__arm__)
#define TINYC_ARENA_SECTION __attribute__((section(".bss.tinyc_arena")))
#define TINYC_BANK_SECTION(field) __attribute__((section(".bss.tinyc_arena_" #field)))
#else
#define TINYC_ARENA_SECTION
#define TINYC_BANK_SECTION(field)
#endif

#endif
