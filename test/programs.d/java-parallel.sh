# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# Threads, a heap that is collected again and again, NIO with a mapped file.
packages=openjdk-21-jdk-headless
version='java --version'

prepare() { javac -d . programs.d/Work.java; }

work() { java -XX:+UseParallelGC -Xmx256m -cp .. Work 60; }
