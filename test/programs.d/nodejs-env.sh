# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# libuv 1.50 opens an io_uring for epoll all the same.
packages=nodejs
version='node --version'

work() { UV_USE_IO_URING=0 node ../programs.d/work.js 80; }
