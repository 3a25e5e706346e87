/* Building blocks of kernels whose sizes are arguments: one function serves all layers of a kind, for less code and more instructions.
 *
 * Sums of products start at zero; bias and requantisation follow when they are stored, from the same constants that specialised kernels use.
 */
#ifndef TINYC_COMPACT_H
#define TINYC_COMPACT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tinyc_kernels.h"

/* What a channel's constants are: a multiplier that was proved, or one that is the negated scale's bits where it is negative; or those of
 * tinyc_shift_channel or tinyc_general_channel. */
enum { TINYC_MULTIPLIED, TINYC_SHIFTED, TINYC_GENERAL };

/* How sums become int8: they get `fraction_bits` bits below the unit; constants take `channel_bytes` a channel. Outputs of
 * channels with a multiplier that is not negative are `quick` where the bounds are those of int8. */
typedef struct {
    int8_t zero_point;
    int8_t minimum;
    int8_t maximum;
    uint8_t fraction_bits;
    uint8_t shift;
    uint8_t form;
    uint8_t channel_bytes;
    uint8_t quick;
} tinyc_output_sizes;

/* A convolution; `words` are those of a patch, four values each. A direct one has one pixel as a patch, and no half-filled word. */
typedef struct {
    tinyc_output_sizes outputs;
    int8_t input_zero_point;
    uint8_t direct;
    int16_t input_width;
    int16_t input_channels;
    int16_t output_width;
    int16_t output_channels;
    int16_t kernel_height;
    int16_t kernel_width;
    int16_t stride_width;
    int16_t dilation_width;
    int16_t pad_left;
    int16_t words;
} tinyc_conv_sizes;

/* A depthwise convolution on planes of `kernel_height` rows of `pitch` words; `columns` of a row of input lie on them. `height` and `pad_top`
 * are those of a tensor that is overwritten. */
typedef struct {
    tinyc_output_sizes outputs;
    int8_t input_zero_point;
    int16_t input_width;
    int16_t channels;
    int16_t columns;
    int16_t output_width;
    int16_t multiplier;
    int16_t kernel_height;
    int16_t pad_left;
    int16_t pitch;
    int16_t height;
    int16_t pad_top;
} tinyc_depthwise_sizes;

/* A fully connected layer of `count` outputs that takes `length` values at a time. */
typedef struct {
    tinyc_output_sizes outputs;
    int32_t count;
    int32_t length;
    int32_t rows;
} tinyc_fully_connected_sizes;

/* A sum with its bias. */
TINYC_INLINE int32_t tinyc_with_bias(const tinyc_output_sizes *sizes, int32_t sum, int32_t bias)
{
    return (int32_t)(((uint32_t)sum << sizes->fraction_bits) + (uint32_t)bias);
}

/* Stores `count` outputs of one channel, `pitch` bytes apart: the rules of ai-edge-litert and ONNX Runtime. */
TINYC_SHARED void tinyc_store_scaled(const tinyc_output_sizes *sizes, const int32_t *sums, int32_t count, int8_t *output, int32_t pitch,
                                     const void *constants)
{
    const tinyc_mixed_channel *const channel = (const tinyc_mixed_channel *)constants;
    const int32_t bias = channel->bias, multiplier = channel->multiplier;
    for (; count > 0; count--) {
        int32_t value = tinyc_with_bias(sizes, *sums++, bias);
        if (multiplier >= 0) {
            value = tinyc_multiply_high(value, multiplier) >> sizes->shift;
        } else {
            value = tinyc_saturating_add(tinyc_scale(value, tinyc_unproved_scale(multiplier)), sizes->zero_point);
        }
        *output = tinyc_clamp(value, sizes->minimum, sizes->maximum);
        output += pitch;
    }
}

/* The same by the rules of TensorFlow Lite Micro. */
TINYC_SHARED void tinyc_store_fixed(const tinyc_output_sizes *sizes, const int32_t *sums, int32_t count, int8_t *output, int32_t pitch,
                                    const void *constants)
{
    const tinyc_shift_channel *const channel = (const tinyc_shift_channel *)constants;
    const int32_t bias = channel->bias, multiplier = channel->multiplier;
    for (; count > 0; count--) {
        int32_t value = tinyc_with_bias(sizes, *sums++, bias);
        if (sizes->form == TINYC_MULTIPLIED) {
            value = tinyc_multiply_high(value, multiplier) >> sizes->shift;
        } else if (sizes->form == TINYC_SHIFTED) {
            value = tinyc_multiply_high_rounded(2 * value, multiplier);
            value = (value + tinyc_sign(value) + channel->offset) >> channel->shift;
        } else {
            value = tinyc_scale_general(value, (const tinyc_general_channel *)constants);
            value = tinyc_saturating_add(value, sizes->zero_point);
        }
        *output = tinyc_clamp(value, sizes->minimum, sizes->maximum);
        output += pitch;
    }
}

/* The patch of the output column whose leftmost input column is `first`, as pairs that are four words apart; `patch` is scratch for its bytes. */
TINYC_SHARED void tinyc_gather_patch(const tinyc_conv_sizes *sizes, const int8_t *const *rows, int32_t first, int8_t *patch, uint32_t *pairs)
{
    const size_t channels = (size_t)sizes->input_channels;
    const int8_t *source = patch;
    int32_t words = sizes->words, y, x;
    if (sizes->direct) {
        source = rows[0] + first * sizes->input_channels;
    } else {
        const int32_t inside = first >= 0 && first + sizes->kernel_width <= sizes->input_width && sizes->dilation_width == 1;
        for (y = 0; y < sizes->kernel_height; y++) {
            const int8_t *const row = rows[y];
            if (row != NULL && inside) {
                memcpy(patch, row + first * sizes->input_channels, (size_t)(sizes->input_channels * sizes->kernel_width));
                patch += sizes->input_channels * sizes->kernel_width;
                continue;
            }
            for (x = 0; x < sizes->kernel_width; x++) {
                const int32_t column = first + x * sizes->dilation_width;
                if (row != NULL && column >= 0 && column < sizes->input_width) {
                    memcpy(patch, row + column * sizes->input_channels, channels);
                } else {
                    memset(patch, sizes->input_zero_point, channels);
                }
                patch += sizes->input_channels;
            }
        }
    }
    for (; words > 0; words--) {
        const uint32_t word = tinyc_load_word(source);
        pairs[0] = tinyc_even_bytes(word);
        pairs[4] = tinyc_odd_bytes(word);
        source += 4;
        pairs += 8;
    }
}

/* An output whose multiplier is proved and whose bounds are those of int8, with eight fraction bits; `bias`, `multiplier` and `shift` are the
 * caller's variables. */
#define TINYC_QUICK_OUTPUT(sum, pointer) \
    sum = tinyc_multiply_high((int32_t)(((uint32_t)sum << 8) + (uint32_t)bias), multiplier) >> shift; \
    TINYC_STORE_BYTE(pointer, 0, tinyc_bound_to_byte(sum))

/* Stores four neighbouring outputs of a channel, `pitch` bytes apart, or the first `count` of them; `store` is the function for all cases. */
#define TINYC_STORE_TILE(store, sizes, s0, s1, s2, s3, count, output, pitch, constants) \
    do { \
        const int32_t bias = ((const tinyc_mixed_channel *)(const void *)(constants))->bias; \
        const int32_t multiplier = ((const tinyc_mixed_channel *)(const void *)(constants))->multiplier, shift = (sizes)->shift; \
        if ((count) == 4 && (sizes)->quick && multiplier >= 0) { \
            int8_t *place = output; \
            TINYC_QUICK_OUTPUT(s0, place); \
            place += pitch; \
            TINYC_QUICK_OUTPUT(s1, place); \
            place += pitch; \
            TINYC_QUICK_OUTPUT(s2, place); \
            place += pitch; \
            TINYC_QUICK_OUTPUT(s3, place); \
        } else { \
            int32_t sums[4]; \
            sums[0] = s0; \
            sums[1] = s1; \
            sums[2] = s2; \
            sums[3] = s3; \
            store(sizes, sums, count, output, pitch, constants); \
        } \
    } while (0)

/* One value of a row of a plane, by its column with padding. */
TINYC_INLINE void tinyc_store_column(uint32_t *row, int32_t column, int32_t value)
{
    TINYC_STORE_HALF((int8_t *)row + 2 * column, 0, value);
}

/* `together` channels of a row, 1 or 4, from `source`, or padding where that is NULL, to a row of as many planes whose sides are padding. */
TINYC_SHARED void tinyc_gather_planes(const tinyc_depthwise_sizes *sizes, const int8_t *source, uint32_t *row, int32_t together)
{
    const int32_t plane_words = sizes->kernel_height * sizes->pitch, columns = sizes->columns, channels = sizes->channels;
    const int32_t odd = sizes->pad_left & 1;
    int32_t channel, count = (columns - odd) / 2;
    uint32_t *target = row + (sizes->pad_left + odd) / 2;
    for (channel = 0; channel < together; channel++) {
        if (source == NULL) {
            tinyc_fill(row, tinyc_pair(sizes->input_zero_point, sizes->input_zero_point), sizes->pitch);
        } else {
            /* Columns that share a word with padding. */
            if (odd && columns > 0) {
                tinyc_store_column(row, sizes->pad_left, source[channel]);
            }
            if ((columns - odd) & 1) {
                tinyc_store_column(row, sizes->pad_left + columns - 1, source[(columns - 1) * channels + channel]);
            }
        }
        row += plane_words;
    }
    if (source == NULL) {
        return;
    }
    source += odd * channels;
    for (; count > 0; count--) {
        if (together == 4) {
            const uint32_t left = tinyc_load_word(source), right = tinyc_load_word(source + channels);
            const uint32_t low = tinyc_low_halves(left, right), high = tinyc_high_halves(left, right);
            target[0] = tinyc_even_bytes(low);
            target[plane_words] = tinyc_odd_bytes(low);
            target[2 * plane_words] = tinyc_even_bytes(high);
            target[3 * plane_words] = tinyc_odd_bytes(high);
        } else {
            *target = tinyc_pair(source[0], source[channels]);
        }
        source += 2 * channels;
        target++;
    }
}

/* The next four bytes of `left`, which may be fewer. */
TINYC_INLINE uint32_t tinyc_load_some(const int8_t *source, int32_t left)
{
    uint32_t word = 0;
    if (left >= 4) {
        return tinyc_load_word(source);
    }
    for (source += left; left > 0; left--) {
        word = word << 8 | (uint8_t)*--source;
    }
    return word;
}

/* Adds `length` products to each of `lanes` sums, at most four; the words of their weights lie side by side. */
TINYC_SHARED void tinyc_add_products(const int8_t *row, int32_t length, const uint32_t *weights, int32_t lanes, int32_t *sums)
{
    int32_t lane, step;
    if (lanes == 4) {
        int32_t a0 = sums[0], a1 = sums[1], a2 = sums[2], a3 = sums[3];
        for (; length > 0; length -= 4) {
            const uint32_t word = tinyc_load_some(row, length);
            const uint32_t even = tinyc_even_bytes(word), odd = tinyc_odd_bytes(word);
            TINYC_MAC_2(a0, even, tinyc_even_bytes(weights[0]));
            TINYC_MAC_2(a0, odd, tinyc_odd_bytes(weights[0]));
            TINYC_MAC_2(a1, even, tinyc_even_bytes(weights[1]));
            TINYC_MAC_2(a1, odd, tinyc_odd_bytes(weights[1]));
            TINYC_MAC_2(a2, even, tinyc_even_bytes(weights[2]));
            TINYC_MAC_2(a2, odd, tinyc_odd_bytes(weights[2]));
            TINYC_MAC_2(a3, even, tinyc_even_bytes(weights[3]));
            TINYC_MAC_2(a3, odd, tinyc_odd_bytes(weights[3]));
            row += 4;
            weights += 4;
        }
        sums[0] = a0;
        sums[1] = a1;
        sums[2] = a2;
        sums[3] = a3;
        return;
    }
    for (lane = 0; lane < lanes; lane++) {
        int32_t sum = sums[lane];
        for (step = 0; step < length; step += 4) {
            const uint32_t word = tinyc_load_some(row + step, length - step), weight = weights[lane + step / 4 * lanes];
            TINYC_MAC_2(sum, tinyc_even_bytes(word), tinyc_even_bytes(weight));
            TINYC_MAC_2(sum, tinyc_odd_bytes(word), tinyc_odd_bytes(weight));
        }
        sums[lane] = sum;
    }
}

#endif /* TINYC_COMPACT_H */
