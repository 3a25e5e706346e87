/* Arithmetic of tinyc's element-wise, pooling and reducing kernels, on top of tinyc_kernels.h; the same split between DSP and plain C. */
#ifndef TINYC_ARITHMETIC_H
#define TINYC_ARITHMETIC_H

#include "tinyc_kernels.h"

/* a * b, rounded to float before anything else happens to it: a compiler may otherwise fuse a following addition into it. */
static inline float tinyc_product(float a, float b)
{
#if TINYC_FPU
    float product;
    __asm__("vmul.f32 %0, %1, %2" : "=t"(product) : "t"(a), "t"(b));
    return product;
#else
    volatile float product = a * b;
    return product;
#endif
}

/* a * b + c with one rounding. */
static inline float tinyc_multiply_add(float a, float b, float c)
{
#if TINYC_FPU
    __asm__("vfma.f32 %0, %1, %2" : "+t"(c) : "t"(a), "t"(b));
    return c;
#else
    return fmaf(a, b, c);
#endif
}

/* Nearest integer, halves away from zero; the magnitude of value must be below 2**31. */
static inline int32_t tinyc_round_half_away(float value)
{
    int32_t integer = (int32_t)value;
    float rest = value - (float)integer;
    return integer + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
}

/* value / 2**shift, rounded to nearest, halves away from zero; shift in 0..31 and the magnitude of value below 2**30. */
static inline int32_t tinyc_rounding_shift(int32_t value, int32_t shift)
{
    return shift == 0 ? value : (value + (value < 0 ? -1 : 0) + ((int32_t)1 << (shift - 1))) >> shift;
}

/* sum / count, rounded to nearest, halves away from zero. */
static inline int32_t tinyc_rounded_quotient(int32_t sum, int32_t count)
{
    int32_t half = count / 2;
    return (sum < 0 ? sum - half : sum + half) / count;
}

/* (2 * a * b + 2**31) >> 32: gemmlowp's doubling high multiplication, for operands that are not both INT32_MIN. */
static inline int32_t tinyc_doubling_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* Zeros above the highest one bit of value, which must not be 0. */
static inline int32_t tinyc_leading_zeros(uint32_t value)
{
#if defined(__GNUC__)
    return __builtin_clz(value);
#else
    int32_t zeros = 0;
    for (; !(value & 0x80000000u); value <<= 1) {
        zeros++;
    }
    return zeros;
#endif
}

static inline void tinyc_store_word(int8_t *p, uint32_t word)
{
    memcpy(p, &word, sizeof word);
}

#if TINYC_DSP

/* The greater (smaller) of the signed bytes of two words, byte by byte. One statement: SEL reads the flags that SSUB8 sets. */
static inline uint32_t tinyc_maximum_4(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(result) : "r"(a), "r"(b));
    return result;
}

static inline uint32_t tinyc_minimum_4(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(result) : "r"(a), "r"(b));
    return result;
}

/* pair + the even (odd) bytes of word, as two int16 that must not overflow. */
static inline uint32_t tinyc_add_even_bytes(uint32_t pair, uint32_t word)
{
    uint32_t sum;
    __asm__("sxtab16 %0, %1, %2" : "=r"(sum) : "r"(pair), "r"(word));
    return sum;
}

static inline uint32_t tinyc_add_odd_bytes(uint32_t pair, uint32_t word)
{
    uint32_t sum;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(sum) : "r"(pair), "r"(word));
    return sum;
}

#else

static inline uint32_t tinyc_select_4(uint32_t a, uint32_t b, int greater)
{
    uint32_t result = 0;
    int32_t place;
    for (place = 0; place < 32; place += 8) {
        int8_t x = (int8_t)(a >> place & 0xFFu), y = (int8_t)(b >> place & 0xFFu);
        result |= (uint32_t)(uint8_t)((x > y) == (greater != 0) ? x : y) << place;
    }
    return result;
}

static inline uint32_t tinyc_maximum_4(uint32_t a, uint32_t b)
{
    return tinyc_select_4(a, b, 1);
}

static inline uint32_t tinyc_minimum_4(uint32_t a, uint32_t b)
{
    return tinyc_select_4(a, b, 0);
}

static inline uint32_t tinyc_add_pairs(uint32_t a, uint32_t b)
{
    return ((a + b) & 0xFFFFu) | ((a & 0xFFFF0000u) + (b & 0xFFFF0000u));
}

static inline uint32_t tinyc_add_even_bytes(uint32_t pair, uint32_t word)
{
    return tinyc_add_pairs(pair, tinyc_even_bytes(word));
}

static inline uint32_t tinyc_add_odd_bytes(uint32_t pair, uint32_t word)
{
    return tinyc_add_pairs(pair, tinyc_odd_bytes(word));
}

#endif /* TINYC_DSP */

/* The low (high) int16 of a pair. */
static inline int32_t tinyc_low_half(uint32_t pair)
{
    return (int16_t)(pair & 0xFFFFu);
}

static inline int32_t tinyc_high_half(uint32_t pair)
{
    return (int16_t)(pair >> 16);
}

#endif /* TINYC_ARITHMETIC_H */
