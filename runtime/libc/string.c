/* Bytes, and words where both sides allow it: these stand for the C library of a compiler that has none, in emulated programs only. */

#include "string.h"

#include <stdint.h>

#define WORD sizeof(uint32_t)

/* Words of any type may be read and written through this. */
typedef uint32_t __attribute__((may_alias)) word;

static int is_word(const void *left, const void *right)
{
    return (((uintptr_t)left | (uintptr_t)right) & (WORD - 1)) == 0;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    if (is_word(to, from)) {
        for (; bytes >= WORD; bytes -= WORD, target += WORD, source += WORD) {
            *(word *)(void *)target = *(const word *)(const void *)source;
        }
    }
    while (bytes-- > 0) {
        *target++ = *source++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((uintptr_t)to <= (uintptr_t)from) {
        for (size_t index = 0; index < bytes; index++) {
            target[index] = source[index];
        }
    } else {
        while (bytes-- > 0) {
            target[bytes] = source[bytes];
        }
    }
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    uint8_t *target = to;
    if (is_word(to, to)) {
        const uint32_t pattern = (uint8_t)value * 0x01010101u;
        for (; bytes >= WORD; bytes -= WORD, target += WORD) {
            *(word *)(void *)target = pattern;
        }
    }
    while (bytes-- > 0) {
        *target++ = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t bytes)
{
    const uint8_t *a = left, *b = right;
    for (size_t index = 0; index < bytes; index++) {
        if (a[index] != b[index]) {
            return a[index] < b[index] ? -1 : 1;
        }
    }
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0') {
        length++;
    }
    return length;
}
