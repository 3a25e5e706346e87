/* Building blocks of tinyc's convolution kernels.
 *
 * Each block is one instruction of the DSP extension (ARMv7E-M: Cortex-M4, Cortex-M7) where the compiler offers it, and plain C99 with
 * the same result elsewhere; defining TINYC_PORTABLE selects plain C everywhere. Loads and multiply-accumulates of the inner loops are
 * statements in volatile assembly because GCC's scheduler otherwise lifts the loads until the accumulators no longer fit the registers.
 *
 * A "pair" is a uint32_t that holds two int16: bits 0-15 the low value, bits 16-31 the high value.
 */
#ifndef TINYC_KERNELS_H
#define TINYC_KERNELS_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && !defined(TINYC_PORTABLE)
#define TINYC_DSP 1
#else
#define TINYC_DSP 0
#endif

#if TINYC_DSP && defined(__ARM_FP) && (__ARM_FP & 4)
#define TINYC_FPU 1
#else
#define TINYC_FPU 0
#include <math.h>
#endif

#if defined(__GNUC__)
#define TINYC_NOINLINE __attribute__((noinline))
/* GCC inlines less in a larger file; a block that is not inlined costs more than its call, since its operands then lie in memory. */
#define TINYC_INLINE static inline __attribute__((always_inline))
/* What is called once a row or a channel, and would be large in every kernel. */
#define TINYC_SHARED static __attribute__((noinline, unused))
#else
#define TINYC_NOINLINE
#define TINYC_INLINE static inline
#define TINYC_SHARED static inline
#endif

/* Selects bytes 1 and 3 of a word. */
#define TINYC_UPPER_BYTES 0xFF00FF00u

/* Constants of one output channel, by requantisation. `bias` is the accumulator's start value, input zero point included. */
typedef struct {
    int32_t bias;
    float scale;
} tinyc_float_channel;

/* Two roundings; a right shift of at least one place; `offset` is half a unit plus the zero point, both shifted left by `shift`. */
typedef struct {
    int32_t bias;
    int32_t multiplier;
    int32_t offset;
    int32_t shift;
} tinyc_shift_channel;

/* Two roundings; any shifts. */
typedef struct {
    int32_t bias;
    int32_t multiplier;
    int32_t left;
    int32_t right;
} tinyc_general_channel;

/* One multiplication whose equality with the rule was proved by the compiler; rounding and zero point are part of `bias`. */
typedef struct {
    int32_t bias;
    int32_t multiplier;
} tinyc_integer_channel;

/* As above; for channels without a proof `multiplier` is negative: the bits of the negated float scale. */
typedef struct {
    int32_t bias;
    int32_t multiplier;
} tinyc_mixed_channel;

/* What is added to the outputs of a layer in its own kernel: (bias + output * own + residual * other) >> shift, bounded to a byte. */
typedef struct {
    int32_t own;
    int32_t other;
    int32_t bias;
    int32_t shift;
} tinyc_addition;

#if TINYC_DSP

/* r = four bytes at p, which need not be aligned. */
TINYC_INLINE uint32_t tinyc_load_word(const int8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* The two bytes at p in the low half, the two at q in the high half. */
TINYC_INLINE uint32_t tinyc_load_halves(const int8_t *p, const int8_t *q)
{
    uint16_t low, high;
    memcpy(&low, p, sizeof low);
    memcpy(&high, q, sizeof high);
    return (uint32_t)low | (uint32_t)high << 16;
}

/* Bytes 0 and 2 of a word as a pair; bytes 1 and 3 as a pair. */
TINYC_INLINE uint32_t tinyc_even_bytes(uint32_t word)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
}

TINYC_INLINE uint32_t tinyc_odd_bytes(uint32_t word)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

/* The same pairs, each value 256 times as large: bytes in the upper halves of int16. `mask` is TINYC_UPPER_BYTES in a register. */
#define TINYC_EVEN_FRACTIONS(pair, word, mask) __asm__("and %0, %1, %2, lsl #8" : "=r"(pair) : "r"(mask), "r"(word))
#define TINYC_ODD_FRACTIONS(pair, word, mask) __asm__("and %0, %1, %2" : "=r"(pair) : "r"(mask), "r"(word))

/* The low (high) halves of two words. */
TINYC_INLINE uint32_t tinyc_low_halves(uint32_t low, uint32_t high)
{
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(low), "r"(high));
    return pair;
}

TINYC_INLINE uint32_t tinyc_high_halves(uint32_t low, uint32_t high)
{
    uint32_t pair;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(high), "r"(low));
    return pair;
}

/* Sums (differences) of the halves of two words. */
TINYC_INLINE uint32_t tinyc_add_halves(uint32_t a, uint32_t b)
{
    uint32_t pair;
    __asm__("sadd16 %0, %1, %2" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

TINYC_INLINE uint32_t tinyc_subtract_halves(uint32_t a, uint32_t b)
{
    uint32_t pair;
    __asm__("ssub16 %0, %1, %2" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

/* Inner loops: statements in program order. INDEX is a constant, in words. */
#define TINYC_LOAD(register, pointer, index) \
    __asm__ volatile("ldr %0, [%1, %2]" : "=r"(register) : "r"(pointer), "n"(4 * (index)) : "memory")
/* The same from int8_t, which need not be aligned. */
#define TINYC_LOAD_BYTES(register, pointer, index) TINYC_LOAD(register, pointer, index)
/* The same at any byte OFFSET from int8_t. */
#define TINYC_LOAD_AT(register, pointer, offset) \
    __asm__ volatile("ldr %0, [%1, %2]" : "=r"(register) : "r"(pointer), "n"(offset) : "memory")
#define TINYC_LOAD_2(first, second, pointer, index) \
    __asm__ volatile("ldrd %0, %1, [%2, %3]" : "=r"(first), "=r"(second) : "r"(pointer), "n"(4 * (index)) : "memory")
/* Declares four words, and takes them and the pointer behind them: LDM loads registers in ascending order. */
#define TINYC_FOUR_WORDS(first, second, third, fourth) \
    register uint32_t first __asm__("r4"); \
    register uint32_t second __asm__("r5"); \
    register uint32_t third __asm__("r6"); \
    register uint32_t fourth __asm__("r8")
#define TINYC_TAKE_4(first, second, third, fourth, pointer) \
    __asm__ volatile("ldmia %4!, {%0, %1, %2, %3}" \
        : "=r"(first), "=r"(second), "=r"(third), "=r"(fourth), "+r"(pointer) : : "memory")
#define TINYC_STORE_2(first, second, pointer, index) \
    __asm__ volatile("strd %0, %1, [%2, %3]" : : "r"(first), "r"(second), "r"(pointer), "n"(4 * (index)) : "memory")
#define TINYC_STORE(value, pointer, index) \
    __asm__ volatile("str %0, [%1, %2]" : : "r"(value), "r"(pointer), "n"(4 * (index)) : "memory")
#define TINYC_EVEN_BYTES(pair, word) __asm__ volatile("sxtb16 %0, %1" : "=r"(pair) : "r"(word))
#define TINYC_ODD_BYTES(pair, word) __asm__ volatile("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word))
/* Hides where a pointer comes from, so that a loop that runs once stays a loop and its variables get the registers. */
#define TINYC_OPAQUE(pointer) __asm__("" : "+r"(pointer))
/* sum = start + low * low + high * high; `start` may be `sum`. */
#define TINYC_SUM_2(sum, x, y, start) __asm__ volatile("smlad %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(start))
/* sum = x + y, difference = x - y */
#define TINYC_ADD(sum, x, y) __asm__ volatile("add %0, %1, %2" : "=r"(sum) : "r"(x), "r"(y))
#define TINYC_SUBTRACT(difference, x, y) __asm__ volatile("sub %0, %1, %2" : "=r"(difference) : "r"(x), "r"(y))
/* product = low * low + high * high */
#define TINYC_PRODUCT_2(product, x, y) __asm__ volatile("smuad %0, %1, %2" : "=r"(product) : "r"(x), "r"(y))
/* sum = start + (low or high of x) * (low or high of y) */
#define TINYC_SUM_LL(sum, x, y, start) __asm__ volatile("smlabb %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(start))
#define TINYC_SUM_LH(sum, x, y, start) __asm__ volatile("smlabt %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(start))
#define TINYC_SUM_HL(sum, x, y, start) __asm__ volatile("smlatb %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(start))
#define TINYC_SUM_HH(sum, x, y, start) __asm__ volatile("smlatt %0, %1, %2, %3" : "=r"(sum) : "r"(x), "r"(y), "r"(start))

/* accumulator += the same products; one operand, so that the accumulator never changes its register. */
#define TINYC_MAC_2(accumulator, x, y) __asm__ volatile("smlad %0, %1, %2, %0" : "+r"(accumulator) : "r"(x), "r"(y))
#define TINYC_MAC_LL(accumulator, x, y) __asm__ volatile("smlabb %0, %1, %2, %0" : "+r"(accumulator) : "r"(x), "r"(y))
#define TINYC_MAC_LH(accumulator, x, y) __asm__ volatile("smlabt %0, %1, %2, %0" : "+r"(accumulator) : "r"(x), "r"(y))
#define TINYC_MAC_HL(accumulator, x, y) __asm__ volatile("smlatb %0, %1, %2, %0" : "+r"(accumulator) : "r"(x), "r"(y))
#define TINYC_MAC_HH(accumulator, x, y) __asm__ volatile("smlatt %0, %1, %2, %0" : "+r"(accumulator) : "r"(x), "r"(y))

/* (a * b + 2**31) >> 32 */
TINYC_INLINE int32_t tinyc_multiply_high_rounded(int32_t a, int32_t b)
{
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
}

/* (a * b) >> 32 */
TINYC_INLINE int32_t tinyc_multiply_high(int32_t a, int32_t b)
{
    int32_t high;
    __asm__("smmul %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
}

TINYC_INLINE int32_t tinyc_saturating_add(int32_t a, int32_t b)
{
    int32_t sum;
    __asm__("qadd %0, %1, %2" : "=r"(sum) : "r"(a), "r"(b));
    return sum;
}

TINYC_INLINE int32_t tinyc_bound_to_byte(int32_t value)
{
    int32_t bounded;
    __asm__("ssat %0, #8, %1" : "=r"(bounded) : "r"(value));
    return bounded;
}

/* bound_to_byte(value >> SHIFT), SHIFT a constant in 1..31. */
#define TINYC_SATURATE_SHIFTED(result, value, shift) \
    __asm__("ssat %0, #8, %1, asr %2" : "=r"(result) : "r"(value), "n"(shift))
/* multiply_high, saturate_shifted and the pairs with fraction bits as statements in program order. */
#define TINYC_EVEN_MASKED(pair, word, mask) __asm__ volatile("and %0, %1, %2, lsl #8" : "=r"(pair) : "r"(mask), "r"(word))
#define TINYC_ODD_MASKED(pair, word, mask) __asm__ volatile("and %0, %1, %2" : "=r"(pair) : "r"(mask), "r"(word))
#define TINYC_MULTIPLY_HIGH(high, a, b) __asm__ volatile("smmul %0, %1, %2" : "=r"(high) : "r"(a), "r"(b))
#define TINYC_SATURATE(result, value, shift) \
    __asm__ volatile("ssat %0, #8, %1, asr %2" : "=r"(result) : "r"(value), "n"(shift))
/* multiply_high, saturate_shifted and start + value * factor, which must not overflow, of a value that never changes its register. */
#define TINYC_SCALE(value, factor) __asm__ volatile("smmul %0, %0, %1" : "+r"(value) : "r"(factor))
#define TINYC_NARROW(value, shift) __asm__ volatile("ssat %0, #8, %0, asr %1" : "+r"(value) : "n"(shift))
#define TINYC_SCALE_AND_ADD(value, factor, start) \
    __asm__ volatile("mla %0, %0, %1, %2" : "+r"(value) : "r"(factor), "r"(start))
/* value = pointer[OFFSET] of int8_t; OFFSET is a constant up to 4095. */
#define TINYC_LOAD_SIGNED(value, pointer, offset) \
    __asm__ volatile("ldrsb %0, [%1, %2]" : "=r"(value) : "r"(pointer), "n"(offset) : "memory")
/* pointer[OFFSET] = value, which is in the range of int8_t; OFFSET is a constant up to 4095. GCC would extend the sign of the value first,
 * move the stores of two branches behind them, and keep a pointer for each of the offsets. */
#define TINYC_STORE_BYTE(pointer, offset, value) \
    __asm__ volatile("strb %0, [%1, %2]" : : "r"(value), "r"(pointer), "n"(offset) : "memory")
/* The same for two bytes at pointer + OFFSET, which is even. */
#define TINYC_STORE_HALF(pointer, offset, value) \
    __asm__ volatile("strh %0, [%1, %2]" : : "r"(value), "r"(pointer), "n"(offset) : "memory")

#else /* plain C */

TINYC_INLINE uint32_t tinyc_load_word(const int8_t *p)
{
    return (uint32_t)(uint8_t)p[0] | (uint32_t)(uint8_t)p[1] << 8 | (uint32_t)(uint8_t)p[2] << 16 | (uint32_t)(uint8_t)p[3] << 24;
}

TINYC_INLINE uint32_t tinyc_load_halves(const int8_t *p, const int8_t *q)
{
    return (uint32_t)(uint8_t)p[0] | (uint32_t)(uint8_t)p[1] << 8 | (uint32_t)(uint8_t)q[0] << 16 | (uint32_t)(uint8_t)q[1] << 24;
}

TINYC_INLINE int32_t tinyc_low(uint32_t pair)
{
    return (int16_t)(pair & 0xFFFFu);
}

TINYC_INLINE int32_t tinyc_high(uint32_t pair)
{
    return (int16_t)(pair >> 16);
}

TINYC_INLINE uint32_t tinyc_even_bytes(uint32_t word)
{
    return ((uint32_t)(int8_t)(word & 0xFFu) & 0xFFFFu) | (uint32_t)(int8_t)(word >> 16 & 0xFFu) << 16;
}

TINYC_INLINE uint32_t tinyc_odd_bytes(uint32_t word)
{
    return tinyc_even_bytes(word >> 8);
}

#define TINYC_EVEN_FRACTIONS(pair, word, mask) ((pair) = (word) << 8 & (mask))
#define TINYC_ODD_FRACTIONS(pair, word, mask) ((pair) = (word) & (mask))

/* Sums wrap at 32 bits, as the instructions do. */
TINYC_INLINE int32_t tinyc_wrapping_add(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

TINYC_INLINE uint32_t tinyc_low_halves(uint32_t low, uint32_t high)
{
    return (low & 0xFFFFu) | high << 16;
}

TINYC_INLINE uint32_t tinyc_high_halves(uint32_t low, uint32_t high)
{
    return low >> 16 | (high & 0xFFFF0000u);
}

TINYC_INLINE uint32_t tinyc_add_halves(uint32_t a, uint32_t b)
{
    return ((a + b) & 0xFFFFu) | ((a & 0xFFFF0000u) + (b & 0xFFFF0000u));
}

TINYC_INLINE uint32_t tinyc_subtract_halves(uint32_t a, uint32_t b)
{
    return ((a - b) & 0xFFFFu) | ((a & 0xFFFF0000u) - (b & 0xFFFF0000u));
}

#define TINYC_LOAD(register, pointer, index) ((register) = (pointer)[index])
#define TINYC_LOAD_BYTES(register, pointer, index) ((register) = tinyc_load_word((pointer) + 4 * (index)))
#define TINYC_LOAD_AT(register, pointer, offset) ((register) = tinyc_load_word((pointer) + (offset)))
#define TINYC_LOAD_2(first, second, pointer, index) ((first) = (pointer)[index], (second) = (pointer)[(index) + 1])
#define TINYC_FOUR_WORDS(first, second, third, fourth) uint32_t first, second, third, fourth
#define TINYC_TAKE_4(first, second, third, fourth, pointer) \
    ((first) = (pointer)[0], (second) = (pointer)[1], (third) = (pointer)[2], (fourth) = (pointer)[3], (pointer) += 4)
#define TINYC_STORE(value, pointer, index) ((pointer)[index] = (uint32_t)(value))
#define TINYC_STORE_2(first, second, pointer, index) ((pointer)[index] = (uint32_t)(first), (pointer)[(index) + 1] = (uint32_t)(second))
#define TINYC_EVEN_BYTES(pair, word) ((pair) = tinyc_even_bytes(word))
#define TINYC_ODD_BYTES(pair, word) ((pair) = tinyc_odd_bytes(word))
#define TINYC_OPAQUE(pointer) ((void)(pointer))
#define TINYC_SUM_LL(sum, x, y, start) ((sum) = tinyc_wrapping_add(start, tinyc_low(x) * tinyc_low(y)))
#define TINYC_SUM_LH(sum, x, y, start) ((sum) = tinyc_wrapping_add(start, tinyc_low(x) * tinyc_high(y)))
#define TINYC_SUM_HL(sum, x, y, start) ((sum) = tinyc_wrapping_add(start, tinyc_high(x) * tinyc_low(y)))
#define TINYC_SUM_HH(sum, x, y, start) ((sum) = tinyc_wrapping_add(start, tinyc_high(x) * tinyc_high(y)))
#define TINYC_SUM_2(sum, x, y, start) (TINYC_SUM_LL(sum, x, y, start), TINYC_SUM_HH(sum, x, y, sum))
#define TINYC_ADD(sum, x, y) ((sum) = (x) + (y))
#define TINYC_SUBTRACT(difference, x, y) ((difference) = (x) - (y))
#define TINYC_PRODUCT_2(product, x, y) TINYC_SUM_2(product, x, y, 0)
#define TINYC_MAC_2(accumulator, x, y) TINYC_SUM_2(accumulator, x, y, accumulator)
#define TINYC_MAC_LL(accumulator, x, y) TINYC_SUM_LL(accumulator, x, y, accumulator)
#define TINYC_MAC_LH(accumulator, x, y) TINYC_SUM_LH(accumulator, x, y, accumulator)
#define TINYC_MAC_HL(accumulator, x, y) TINYC_SUM_HL(accumulator, x, y, accumulator)
#define TINYC_MAC_HH(accumulator, x, y) TINYC_SUM_HH(accumulator, x, y, accumulator)

TINYC_INLINE int32_t tinyc_multiply_high_rounded(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
}

TINYC_INLINE int32_t tinyc_multiply_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b) >> 32);
}

TINYC_INLINE int32_t tinyc_saturating_add(int32_t a, int32_t b)
{
    int64_t sum = (int64_t)a + b;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

TINYC_INLINE int32_t tinyc_bound_to_byte(int32_t value)
{
    return value > 127 ? 127 : value < -128 ? -128 : value;
}

#define TINYC_SATURATE_SHIFTED(result, value, shift) ((result) = tinyc_bound_to_byte((value) >> (shift)))
#define TINYC_EVEN_MASKED(pair, word, mask) TINYC_EVEN_FRACTIONS(pair, word, mask)
#define TINYC_ODD_MASKED(pair, word, mask) TINYC_ODD_FRACTIONS(pair, word, mask)
#define TINYC_MULTIPLY_HIGH(high, a, b) ((high) = tinyc_multiply_high(a, b))
#define TINYC_SATURATE(result, value, shift) TINYC_SATURATE_SHIFTED(result, value, shift)
#define TINYC_SCALE(value, factor) TINYC_MULTIPLY_HIGH(value, value, factor)
#define TINYC_NARROW(value, shift) TINYC_SATURATE_SHIFTED(value, value, shift)
#define TINYC_SCALE_AND_ADD(value, factor, start) ((value) = (start) + (value) * (factor))
#define TINYC_LOAD_SIGNED(value, pointer, offset) ((value) = tinyc_signed_byte((pointer) + (offset)))
#define TINYC_STORE_BYTE(pointer, offset, value) ((pointer)[offset] = (int8_t)(value))
#define TINYC_STORE_HALF(pointer, offset, value) tinyc_store_half((pointer) + (offset), value)

TINYC_INLINE int32_t tinyc_signed_byte(const int8_t *pointer)
{
    return *pointer;
}

TINYC_INLINE void tinyc_store_half(int8_t *pointer, int32_t value)
{
    int16_t half = (int16_t)value;
    memcpy(pointer, &half, sizeof half);
}

#endif /* TINYC_DSP */

/* value * 2**places, which fits int32, and of which no bit is lost. */
TINYC_INLINE int32_t tinyc_shift(int32_t value, int32_t places)
{
    return places >= 0 ? (int32_t)((uint32_t)value << places) : value >> -places;
}

TINYC_INLINE int8_t tinyc_saturate(int32_t value)
{
    return (int8_t)tinyc_bound_to_byte(value);
}

TINYC_INLINE int32_t tinyc_bound(int32_t value, int32_t minimum, int32_t maximum)
{
    value = value < minimum ? minimum : value;
    return value > maximum ? maximum : value;
}

TINYC_INLINE int8_t tinyc_clamp(int32_t value, int32_t minimum, int32_t maximum)
{
    return (int8_t)tinyc_bound(value, minimum, maximum);
}

#if TINYC_FPU

/* Nearest integer, halves to even, saturating at the int32 range. Assembly, so that the product before it cannot be fused away. */
TINYC_INLINE int32_t tinyc_round(float value)
{
    int32_t integer;
    __asm__("vcvtr.s32.f32 %0, %1" : "=t"(value) : "t"(value));
    memcpy(&integer, &value, sizeof integer);
    return integer;
}

/* *a = round((float)*a * scale), two and four at a time: VMOV moves two registers. */
TINYC_INLINE void tinyc_scale_2(int32_t *a, int32_t *b, float scale)
{
    __asm__("vmov s14, s15, %0, %1\n\t"
            "vcvt.f32.s32 s14, s14\n\t"
            "vcvt.f32.s32 s15, s15\n\t"
            "vmul.f32 s14, s14, %2\n\t"
            "vmul.f32 s15, s15, %2\n\t"
            "vcvtr.s32.f32 s14, s14\n\t"
            "vcvtr.s32.f32 s15, s15\n\t"
            "vmov %0, %1, s14, s15"
            : "+r"(*a), "+r"(*b)
            : "t"(scale)
            : "s14", "s15");
}

TINYC_INLINE void tinyc_scale_4(int32_t *a, int32_t *b, int32_t *c, int32_t *d, float scale)
{
    __asm__("vmov s12, s13, %0, %1\n\t"
            "vmov s14, s15, %2, %3\n\t"
            "vcvt.f32.s32 s12, s12\n\t"
            "vcvt.f32.s32 s13, s13\n\t"
            "vcvt.f32.s32 s14, s14\n\t"
            "vcvt.f32.s32 s15, s15\n\t"
            "vmul.f32 s12, s12, %4\n\t"
            "vmul.f32 s13, s13, %4\n\t"
            "vmul.f32 s14, s14, %4\n\t"
            "vmul.f32 s15, s15, %4\n\t"
            "vcvtr.s32.f32 s12, s12\n\t"
            "vcvtr.s32.f32 s13, s13\n\t"
            "vcvtr.s32.f32 s14, s14\n\t"
            "vcvtr.s32.f32 s15, s15\n\t"
            "vmov %0, %1, s12, s13\n\t"
            "vmov %2, %3, s14, s15"
            : "+r"(*a), "+r"(*b), "+r"(*c), "+r"(*d)
            : "t"(scale)
            : "s12", "s13", "s14", "s15");
}

#else

TINYC_INLINE int32_t tinyc_round(float value)
{
    if (value >= 2147483648.0f) {
        return INT32_MAX;
    }
    return value <= -2147483648.0f ? INT32_MIN : (int32_t)lrintf(value);
}

TINYC_INLINE void tinyc_scale_2(int32_t *a, int32_t *b, float scale)
{
    *a = tinyc_round((float)*a * scale);
    *b = tinyc_round((float)*b * scale);
}

TINYC_INLINE void tinyc_scale_4(int32_t *a, int32_t *b, int32_t *c, int32_t *d, float scale)
{
    tinyc_scale_2(a, b, scale);
    tinyc_scale_2(c, d, scale);
}

#endif /* TINYC_FPU */

/* The scale of a channel without a proof: of tinyc_mixed_channel. */
TINYC_INLINE float tinyc_unproved_scale(int32_t multiplier)
{
    float scale;
    memcpy(&scale, &multiplier, sizeof scale);
    return -scale;
}

/* The outputs of four accumulators of such a channel, in place. */
TINYC_SHARED void tinyc_requantize_unproved(int32_t *accumulators, int32_t multiplier, int32_t zero_point)
{
    const float scale = tinyc_unproved_scale(multiplier);
    int32_t i;
    tinyc_scale_4(accumulators, accumulators + 1, accumulators + 2, accumulators + 3, scale);
    for (i = 0; i < 4; i++) {
        accumulators[i] = tinyc_bound_to_byte(tinyc_saturating_add(accumulators[i], zero_point));
    }
}

TINYC_INLINE int32_t tinyc_scale(int32_t accumulator, float scale)
{
    return tinyc_round((float)accumulator * scale);
}

/* Half away from zero instead of half up: what must be added to value before an arithmetic shift with half a unit. */
TINYC_INLINE int32_t tinyc_sign(int32_t value)
{
    return value < 0 ? -1 : 0;
}

/* gemmlowp's two roundings with any shifts; the left shift wraps at 32 bits. */
TINYC_INLINE int32_t tinyc_scale_general(int32_t accumulator, const tinyc_general_channel *channel)
{
    int32_t shifted = (int32_t)((uint32_t)accumulator << channel->left);
    int32_t high = (int32_t)(((int64_t)shifted * channel->multiplier + ((int64_t)1 << 30)) >> 31);
    int32_t mask = (int32_t)(((uint32_t)1 << channel->right) - 1u);
    int32_t remainder = high & mask;
    int32_t threshold = (mask >> 1) - tinyc_sign(high);
    return (high >> channel->right) + (remainder > threshold ? 1 : 0);
}

/* One step of the convolution's inner loop: a pair of values of two channels times the same pair of 1 to 4 columns.
 *
 * The names are the caller's variables: `weights` and `patch` are walked, a0.. and b0.. are the accumulators of the two channels.
 * INDEX is the step, STRIDE the number of interleaved columns in `patch`; both are constants. Weights are int8, to be unpacked, or pairs.
 * The first step may start all accumulators with what the last column's hold, which saves copying it.
 */
#define TINYC_NARROW_WEIGHTS(index) \
    TINYC_LOAD(first, weights, index); \
    TINYC_ODD_BYTES(second, first); \
    TINYC_EVEN_BYTES(first, first)
#define TINYC_WIDE_WEIGHTS(index) TINYC_LOAD_2(first, second, weights, 2 * (index))
#define TINYC_STEP_COLUMN(n, value) \
    TINYC_MAC_2(a##n, value, first); \
    TINYC_MAC_2(b##n, value, second)
#define TINYC_FIRST_COLUMN(n, value, last) \
    TINYC_SUM_2(a##n, value, first, a##last); \
    TINYC_SUM_2(b##n, value, second, b##last)
#define TINYC_STEP_1(index, stride) \
    TINYC_LOAD(left, patch, (index) * (stride)); \
    TINYC_STEP_COLUMN(0, left)
#define TINYC_STEP_2(index, stride) \
    TINYC_LOAD_2(left, right, patch, (index) * (stride)); \
    TINYC_STEP_COLUMN(0, left); \
    TINYC_STEP_COLUMN(1, right)
#define TINYC_STEP_3(index, stride) \
    TINYC_STEP_2(index, stride); \
    TINYC_LOAD(left, patch, (index) * (stride) + 2); \
    TINYC_STEP_COLUMN(2, left)
#define TINYC_STEP_4(index, stride) \
    TINYC_STEP_2(index, stride); \
    TINYC_LOAD_2(left, right, patch, (index) * (stride) + 2); \
    TINYC_STEP_COLUMN(2, left); \
    TINYC_STEP_COLUMN(3, right)
#define TINYC_FIRST_1(index, stride) TINYC_STEP_1(index, stride)
#define TINYC_FIRST_2(index, stride) \
    TINYC_LOAD_2(left, right, patch, (index) * (stride)); \
    TINYC_FIRST_COLUMN(0, left, 1); \
    TINYC_STEP_COLUMN(1, right)
#define TINYC_FIRST_3(index, stride) \
    TINYC_LOAD_2(left, right, patch, (index) * (stride)); \
    TINYC_FIRST_COLUMN(0, left, 2); \
    TINYC_FIRST_COLUMN(1, right, 2); \
    TINYC_LOAD(left, patch, (index) * (stride) + 2); \
    TINYC_STEP_COLUMN(2, left)
#define TINYC_FIRST_4(index, stride) \
    TINYC_LOAD_2(left, right, patch, (index) * (stride)); \
    TINYC_FIRST_COLUMN(0, left, 3); \
    TINYC_FIRST_COLUMN(1, right, 3); \
    TINYC_LOAD_2(left, right, patch, (index) * (stride) + 2); \
    TINYC_FIRST_COLUMN(2, left, 3); \
    TINYC_STEP_COLUMN(3, right)

/* Unpacks `words` words of int8 at `source` to int16 pairs (bytes 0 and 2, then 1 and 3 of each word), `stride` words apart. */
TINYC_INLINE void tinyc_unpack(const int8_t *source, uint32_t *pairs, int32_t words, int32_t stride)
{
    for (; words >= 4; words -= 4) {
        uint32_t first = tinyc_load_word(source);
        uint32_t second = tinyc_load_word(source + 4);
        pairs[0] = tinyc_even_bytes(first);
        pairs[stride] = tinyc_odd_bytes(first);
        pairs[2 * stride] = tinyc_even_bytes(second);
        pairs[3 * stride] = tinyc_odd_bytes(second);
        first = tinyc_load_word(source + 8);
        second = tinyc_load_word(source + 12);
        pairs[4 * stride] = tinyc_even_bytes(first);
        pairs[5 * stride] = tinyc_odd_bytes(first);
        pairs[6 * stride] = tinyc_even_bytes(second);
        pairs[7 * stride] = tinyc_odd_bytes(second);
        source += 16;
        pairs += 8 * stride;
    }
    for (; words > 0; words--) {
        uint32_t word = tinyc_load_word(source);
        pairs[0] = tinyc_even_bytes(word);
        pairs[stride] = tinyc_odd_bytes(word);
        source += 4;
        pairs += 2 * stride;
    }
}

/* The same with fraction bits: each value 256 times as large. */
TINYC_INLINE void tinyc_unpack_fractions(const int8_t *source, uint32_t *pairs, int32_t words, int32_t stride)
{
    const uint32_t mask = TINYC_UPPER_BYTES;
    for (; words >= 4; words -= 4) {
        uint32_t first = tinyc_load_word(source);
        uint32_t second = tinyc_load_word(source + 4);
        TINYC_EVEN_FRACTIONS(pairs[0], first, mask);
        TINYC_ODD_FRACTIONS(pairs[stride], first, mask);
        TINYC_EVEN_FRACTIONS(pairs[2 * stride], second, mask);
        TINYC_ODD_FRACTIONS(pairs[3 * stride], second, mask);
        first = tinyc_load_word(source + 8);
        second = tinyc_load_word(source + 12);
        TINYC_EVEN_FRACTIONS(pairs[4 * stride], first, mask);
        TINYC_ODD_FRACTIONS(pairs[5 * stride], first, mask);
        TINYC_EVEN_FRACTIONS(pairs[6 * stride], second, mask);
        TINYC_ODD_FRACTIONS(pairs[7 * stride], second, mask);
        source += 16;
        pairs += 8 * stride;
    }
    for (; words > 0; words--) {
        uint32_t word = tinyc_load_word(source);
        TINYC_EVEN_FRACTIONS(pairs[0], word, mask);
        TINYC_ODD_FRACTIONS(pairs[stride], word, mask);
        source += 4;
        pairs += 2 * stride;
    }
}

/* Pixels of 4 * `words` channels as patches of tiles of four: [tile][pair][pixel]. */
#define TINYC_INTERLEAVE(unpack) \
    for (; pixels > 0; pixels -= 4) { \
        int32_t column; \
        for (column = 0; column < 4 && column < pixels; column++) { \
            unpack(source, pairs + column, words, 4); \
            source += 4 * words; \
        } \
        pairs += 8 * words; \
    }

TINYC_SHARED void tinyc_interleave(const int8_t *source, uint32_t *pairs, int32_t pixels, int32_t words)
{
    TINYC_INTERLEAVE(tinyc_unpack)
}

TINYC_SHARED void tinyc_interleave_fractions(const int8_t *source, uint32_t *pairs, int32_t pixels, int32_t words)
{
    TINYC_INTERLEAVE(tinyc_unpack_fractions)
}

TINYC_INLINE uint32_t tinyc_pair(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16;
}

/* Gathers one channel (two neighbouring channels) of 2 * `count` pixels that are `pitch` bytes apart, as pairs. */
TINYC_INLINE void tinyc_gather_1(const int8_t *source, int32_t pitch, uint32_t *pairs, int32_t count)
{
    for (; count >= 4; count -= 4) {
        pairs[0] = tinyc_pair(source[0], source[pitch]);
        pairs[1] = tinyc_pair(source[2 * pitch], source[3 * pitch]);
        pairs[2] = tinyc_pair(source[4 * pitch], source[5 * pitch]);
        pairs[3] = tinyc_pair(source[6 * pitch], source[7 * pitch]);
        source += 8 * pitch;
        pairs += 4;
    }
    for (; count > 0; count--) {
        *pairs++ = tinyc_pair(source[0], source[pitch]);
        source += 2 * pitch;
    }
}

TINYC_INLINE void tinyc_gather_2(const int8_t *source, int32_t pitch, uint32_t *first, int32_t distance, int32_t count)
{
    uint32_t word;
    for (; count >= 4; count -= 4) {
        word = tinyc_load_halves(source, source + pitch);
        first[0] = tinyc_even_bytes(word);
        first[distance] = tinyc_odd_bytes(word);
        word = tinyc_load_halves(source + 2 * pitch, source + 3 * pitch);
        first[1] = tinyc_even_bytes(word);
        first[distance + 1] = tinyc_odd_bytes(word);
        word = tinyc_load_halves(source + 4 * pitch, source + 5 * pitch);
        first[2] = tinyc_even_bytes(word);
        first[distance + 2] = tinyc_odd_bytes(word);
        word = tinyc_load_halves(source + 6 * pitch, source + 7 * pitch);
        first[3] = tinyc_even_bytes(word);
        first[distance + 3] = tinyc_odd_bytes(word);
        source += 8 * pitch;
        first += 4;
    }
    for (; count > 0; count--) {
        word = tinyc_load_halves(source, source + pitch);
        first[0] = tinyc_even_bytes(word);
        first[distance] = tinyc_odd_bytes(word);
        source += 2 * pitch;
        first++;
    }
}

/* Four channels; their planes are `distance` words apart. */
TINYC_INLINE void tinyc_gather_4(const int8_t *source, int32_t pitch, uint32_t *first, int32_t distance, int32_t count)
{
    for (; count >= 2; count -= 2) {
        uint32_t left = tinyc_load_word(source);
        uint32_t right = tinyc_load_word(source + pitch);
        uint32_t low = tinyc_low_halves(left, right);
        uint32_t high = tinyc_high_halves(left, right);
        first[0] = tinyc_even_bytes(low);
        first[distance] = tinyc_odd_bytes(low);
        first[2 * distance] = tinyc_even_bytes(high);
        first[3 * distance] = tinyc_odd_bytes(high);
        left = tinyc_load_word(source + 2 * pitch);
        right = tinyc_load_word(source + 3 * pitch);
        low = tinyc_low_halves(left, right);
        high = tinyc_high_halves(left, right);
        first[1] = tinyc_even_bytes(low);
        first[distance + 1] = tinyc_odd_bytes(low);
        first[2 * distance + 1] = tinyc_even_bytes(high);
        first[3 * distance + 1] = tinyc_odd_bytes(high);
        source += 4 * pitch;
        first += 2;
    }
    if (count != 0) {
        uint32_t left = tinyc_load_word(source);
        uint32_t right = tinyc_load_word(source + pitch);
        uint32_t low = tinyc_low_halves(left, right);
        uint32_t high = tinyc_high_halves(left, right);
        first[0] = tinyc_even_bytes(low);
        first[distance] = tinyc_odd_bytes(low);
        first[2 * distance] = tinyc_even_bytes(high);
        first[3 * distance] = tinyc_odd_bytes(high);
    }
}

/* The addition to `count` outputs that lie at `row`, for layers in whose inner loops it is not worth its code. */
TINYC_SHARED void tinyc_add_row(const int8_t *row, const int8_t *residual, int8_t *output, int32_t count, const tinyc_addition *addition)
{
    const int32_t own = addition->own, other = addition->other, bias = addition->bias, shift = addition->shift;
    for (; count >= 4; count -= 4) {
        output[0] = tinyc_saturate((bias + row[0] * own + residual[0] * other) >> shift);
        output[1] = tinyc_saturate((bias + row[1] * own + residual[1] * other) >> shift);
        output[2] = tinyc_saturate((bias + row[2] * own + residual[2] * other) >> shift);
        output[3] = tinyc_saturate((bias + row[3] * own + residual[3] * other) >> shift);
        row += 4;
        residual += 4;
        output += 4;
    }
    for (; count > 0; count--) {
        *output++ = tinyc_saturate((bias + *row++ * own + *residual++ * other) >> shift);
    }
}

TINYC_SHARED void tinyc_fill(uint32_t *target, uint32_t value, int32_t count)
{
    for (; count >= 8; count -= 8) {
        target[0] = value;
        target[1] = value;
        target[2] = value;
        target[3] = value;
        target[4] = value;
        target[5] = value;
        target[6] = value;
        target[7] = value;
        target += 8;
    }
    for (; count > 0; count--) {
        *target++ = value;
    }
}

/* Two words of int8 weights at `weights` + INDEX to four pairs at `pairs` + 2 * INDEX; INDEX is a constant. */
#define TINYC_UNPACK_2(index) \
    TINYC_LOAD_2(first, second, weights, index); \
    TINYC_ODD_BYTES(odd, first); \
    TINYC_EVEN_BYTES(first, first); \
    TINYC_STORE_2(first, odd, pairs, 2 * (index)); \
    TINYC_ODD_BYTES(odd, second); \
    TINYC_EVEN_BYTES(second, second); \
    TINYC_STORE_2(second, odd, pairs, 2 * (index) + 2)

/* Unpacks `count` words of int8 weights to twice as many pairs. */
TINYC_INLINE void tinyc_unpack_weights(const uint32_t *weights, uint32_t *pairs, int32_t count)
{
    uint32_t first, second, odd;
    for (; count >= 4; count -= 4) {
        TINYC_UNPACK_2(0);
        TINYC_UNPACK_2(2);
        weights += 4;
        pairs += 8;
    }
    if (count >= 2) {
        TINYC_UNPACK_2(0);
        weights += 2;
        pairs += 4;
        count -= 2;
    }
    if (count != 0) {
        TINYC_LOAD(first, weights, 0);
        TINYC_ODD_BYTES(odd, first);
        TINYC_EVEN_BYTES(first, first);
        TINYC_STORE_2(first, odd, pairs, 0);
    }
}

/* The same for cores that issue two instructions a cycle: an extension goes beside a store or a load, and nothing waits. */
#define TINYC_UNPACK_DUAL(index) \
    TINYC_LOAD(first, weights, index); \
    TINYC_LOAD(second, weights, (index) + 1); \
    TINYC_EVEN_BYTES(even, first); \
    TINYC_ODD_BYTES(odd, first); \
    TINYC_STORE(even, pairs, 2 * (index)); \
    TINYC_EVEN_BYTES(even, second); \
    TINYC_STORE(odd, pairs, 2 * (index) + 1); \
    TINYC_ODD_BYTES(odd, second); \
    TINYC_STORE(even, pairs, 2 * (index) + 2); \
    TINYC_STORE(odd, pairs, 2 * (index) + 3)

TINYC_INLINE void tinyc_unpack_weights_dual(const uint32_t *weights, uint32_t *pairs, int32_t count)
{
    uint32_t first, second, even, odd;
    for (; count >= 4; count -= 4) {
        TINYC_UNPACK_DUAL(0);
        TINYC_UNPACK_DUAL(2);
        weights += 4;
        pairs += 8;
    }
    if (count >= 2) {
        TINYC_UNPACK_DUAL(0);
        weights += 2;
        pairs += 4;
        count -= 2;
    }
    if (count != 0) {
        TINYC_LOAD(first, weights, 0);
        TINYC_EVEN_BYTES(even, first);
        TINYC_ODD_BYTES(odd, first);
        TINYC_STORE(even, pairs, 0);
        TINYC_STORE(odd, pairs, 1);
    }
}

#endif /* TINYC_KERNELS_H */
