#!/bin/sh
# Compiles the compatibility library of OSv guests to build/libleet-osv.so.1, the same bytes wherever the sources lie.
# Needs a C compiler for x86-64 Linux with glibc headers; CC names another than cc.
set -eu
cd "$(dirname "$0")"
mkdir -p build
# -fno-builtin: the functions defined here must not be compiled into calls of themselves. Lazy binding, because OSv
# ends a program that refers to a missing symbol only when it is called. Not -nostdlib: libm and libc are named so that
# Linux finds them too; in OSv the kernel supplies both.
LC_ALL=C SOURCE_DATE_EPOCH=0 ${CC:-cc} -std=gnu17 -O2 -Wall -Wextra -Werror -fPIC -fno-builtin -fvisibility=default \
  -fno-stack-protector -fcf-protection=none -ffile-prefix-map="$PWD"=. -shared \
  -Wl,-soname,libleet-osv.so.1 -Wl,--build-id=none -Wl,-z,lazy -Wl,-z,noexecstack -Wl,--hash-style=both -Wl,--strip-all \
  -o build/libleet-osv.so.1.new complex.c copies.c destructors.c dev-shm.c environment.c exit.c input.c locale.c missing.c shared-memory.c sockets.c start.c streams.c threads.c waits.c -lm
mv build/libleet-osv.so.1.new build/libleet-osv.so.1
