/* Writes JSON without the C library's printf, which would need a heap and system calls on the part. */

#include "text.h"

#include <string.h>

#include "platform.h"

static void print(const char *text)
{
    tinyc_platform_print(text, strlen(text));
}

static void print_key(const char *key)
{
    print(", \"");
    print(key);
    print("\": ");
}

void tinyc_text_begin(const char *status)
{
    print("{\"status\": \"");
    print(status);
    print("\"");
}

/* Divides *value by 10; the remainder. In steps of 32 by 16 bits, which need no support routine of the compiler. */
static uint32_t divide_by_ten(uint64_t *value)
{
    uint64_t quotient = 0;
    uint32_t remainder = 0;
    for (int shift = 48; shift >= 0; shift -= 16) {
        const uint32_t part = remainder << 16 | ((uint32_t)(*value >> shift) & 0xFFFFu);
        quotient = quotient << 16 | part / 10;
        remainder = part % 10;
    }
    *value = quotient;
    return remainder;
}

void tinyc_text_number(const char *key, int64_t value)
{
    char digits[24];
    char *first = digits + sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--first = (char)('0' + (int)divide_by_ten(&rest));
    } while (rest != 0);
    if (value < 0) {
        *--first = '-';
    }
    print_key(key);
    tinyc_platform_print(first, (size_t)(digits + sizeof digits - first));
}

void tinyc_text_string(const char *key, const char *value)
{
    print_key(key);
    print("\"");
    print(value);
    print("\"");
}

void tinyc_text_end(void)
{
    print("}\n");
}
