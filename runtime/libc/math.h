/* The one function of the mathematical library that generated C uses, for compilers that come without a C library. */

#ifndef TINYC_LIBC_MATH_H
#define TINYC_LIBC_MATH_H

long lrintf(float value);

#endif
