#include "math.h"

/* From here on a float has no fraction bits. */
#define INTEGERS_FROM 0x1p23f

/* Nearest integer, halves to even: the sum with 2**23 has no room for a fraction, so the addition itself rounds. */
long lrintf(float value)
{
    if (value >= 0.0f && value < INTEGERS_FROM) {
        volatile float sum = value + INTEGERS_FROM;
        return (long)(sum - INTEGERS_FROM);
    }
    if (value < 0.0f && value > -INTEGERS_FROM) {
        volatile float sum = value - INTEGERS_FROM;
        return (long)(sum + INTEGERS_FROM);
    }
    return (long)value;
}
