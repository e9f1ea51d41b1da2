# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# A data base in /tmp, which the next node does not have. SQLite compares the
# number of the inode that it opened with that of the name.
packages='python3 libsqlite3-0'
version='python3 -c "import sys, sqlite3; print(\"Python\", sys.version.split()[0] + \", SQLite\", sqlite3.sqlite_version)"'

work() { python3 ../programs.d/sqlite.py 60 delete /tmp; }
