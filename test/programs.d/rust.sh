# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
packages='rustc gcc libc6-dev'
version='rustc --version'

prepare() { rustc -O -o work-rust programs.d/work.rs; }

work() { ../work-rust 120; }
