# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
packages='parallel perl'
version='parallel --version'

work() { seq 160 | parallel --no-notice --tmpdir "$PWD" -j 4 -k 'seq {}00 2{}00 | sha256sum; sleep 0.6'; }
