# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# What a user can do where the admin leaves io_uring on.
packages='nodejs g++'
version='node --version'

prepare() { gcc -O2 -shared -fPIC -o no-uring.so programs.d/no-uring.c; }

work() { LD_PRELOAD=$PWD/../no-uring.so node ../programs.d/work.js 80; }
