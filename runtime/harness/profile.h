/* Two places that an emulator or a debugger can watch: the network runs between them. */

#ifndef TINYC_PROFILE_H
#define TINYC_PROFILE_H

void tinyc_profile_begin(void);
void tinyc_profile_end(void);

#endif
