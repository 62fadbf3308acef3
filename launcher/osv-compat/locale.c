/* Locales.
 * Facts: C is the only one, yet uselocale tells NULL before a first is set, duplocale of that faults, and newlocale refuses
 * to change one category of any other object than C's (runtime.cc, libc/locale). The JSON parser inside MPICH does all
 * three around each text; without them the table of its collectives is empty, and the first collective aborts. */
#define _GNU_SOURCE
#include "next.h"

#include <locale.h>
#include <string.h>

static locale_t the_locale(void) {
    return NEXT(newlocale)(LC_ALL_MASK, "C", NULL);
}

locale_t newlocale(int categories, const char *name, locale_t base) {
    return base && (!strcmp(name, "C") || !strcmp(name, "POSIX")) ? base : NEXT(newlocale)(categories, name, base);
}

locale_t duplocale(locale_t locale) {
    return locale && locale != LC_GLOBAL_LOCALE ? NEXT(duplocale)(locale) : the_locale();
}

locale_t uselocale(locale_t locale) {
    locale_t before = NEXT(uselocale)(locale == LC_GLOBAL_LOCALE ? the_locale() : locale);
    return before ? before : LC_GLOBAL_LOCALE;
}
