/* Functions of their own file, so that no compiler can see that they do nothing and drop the calls. */

#include "profile.h"

__attribute__((noinline)) void tinyc_profile_begin(void)
{
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) void tinyc_profile_end(void)
{
    __asm__ volatile("" ::: "memory");
}
