# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# As a user runs it.
packages=nodejs
version='node --version'

work() { node ../programs.d/work.js 80; }
