/* One report of the harness: a line with a flat JSON object, whose first key is its status. */

#ifndef TINYC_TEXT_H
#define TINYC_TEXT_H

#include <stdint.h>

/* Begins the line. No text given to these functions needs escaping. */
void tinyc_text_begin(const char *status);
void tinyc_text_number(const char *key, int64_t value);
void tinyc_text_string(const char *key, const char *value);
void tinyc_text_end(void);

#endif
