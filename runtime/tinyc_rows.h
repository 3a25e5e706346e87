/* Finding rows of tensors in the arena, whole tensors and rings alike. */
#ifndef TINYC_ROWS_H
#define TINYC_ROWS_H

#include <stddef.h>
#include <stdint.h>

static inline int32_t tinyc_least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/*
 * Fills `rows` with pointers to `window` rows, the first of them number `first`, `dilation` rows apart, of a tensor with `count` rows. Row r lies
 * in slot r % slots, `pitch` bytes per slot, from `base` on. Rows outside the tensor are padding: NULL.
 */
static inline void tinyc_find_rows(const int8_t **rows, int32_t window, const uint8_t *base, int32_t first, int32_t dilation, int32_t count, int32_t slots,
                                   int32_t pitch)
{
    for (int32_t i = 0; i < window; ++i) {
        const int32_t row = first + i * dilation;
        rows[i] = (row >= 0 && row < count) ? (const int8_t *)(base + (row % slots) * pitch) : NULL;
    }
}

#endif
