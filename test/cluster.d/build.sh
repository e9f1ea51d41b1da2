# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# Building sckpt in the build root. The checkout is seen read-only at /src; a
# copy of its sources and the build tree are kept, so that make has little to do.

# Whoever changes the build tree, or needs it to stay as it is, has the lock:
# here, or with flock(1) on /build.
build_lock() {
	mkdir -p "$build/tree"
	exec 7<"$build/tree"
	flock 7
}

# Runs a command in the build root, in /build. Own mount and PID namespace: an
# interrupted build leaves nothing, and what is written elsewhere is gone with
# the command.
build_in() {
	local root
	root=$(rootfs_build_dir)
	[ -d "$root" ] || die "the build root is not there: test/cluster build"
	mkdir -p "$build/m" "$build/tree" "$state/dest"
	# shellcheck disable=SC2016
	host_run unshare --mount --pid --fork --kill-child --propagation private \
		bash -ec '
		root=$1 build=$2 checkout=$3 dest=$4
		shift 4
		m=$build/m/root
		mount -t tmpfs build "$build/m"
		mkdir "$build/m/up" "$build/m/work" "$m"
		mount -t overlay overlay -o "lowerdir=$root,upperdir=$build/m/up,workdir=$build/m/work" "$m"
		mkdir -p "$m/src" "$m/build" "$m/dest"
		mount --bind "$checkout" "$m/src"
		mount -o remount,bind,ro "$m/src"
		mount --bind "$build/tree" "$m/build"
		mount --bind "$dest" "$m/dest"
		mount -t proc proc "$m/proc"
		mount --rbind /dev "$m/dev"
		exec chroot "$m" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
			TERM="${TERM:-dumb}" LC_ALL=C.UTF-8 "${SCKPT_BUILD_ENV:-_=}" sh -c "cd /build && exec \"\$@\"" sh "$@"
	' bash "$root" "$build" "$checkout" "$state/dest" "$@"
}

# The sources as git would have them, with what is not committed yet. What has
# changed since the last copy gets the time of now: with its own, which may lie
# before a build that was made from the copy before, make would leave it out.
build_copy() {
	touch "$build/tree/.copied"
	(
		cd "$checkout" || exit
		files() {
			git -c safe.directory='*' ls-files -coz --exclude-standard |
				while IFS= read -r -d '' f; do [ -e "$f" ] && printf '%s\0' "$f"; done
		}
		{
			files | xargs -0 sha256sum
			files | xargs -0 stat -c '%a  %n'
		} | sort >"$build/tree/.copied.new"
		comm -13 "$build/tree/.copied" "$build/tree/.copied.new" | sed 's/^[^ ]*  //' | sort -u |
			tar -c -T - -f - | tar -x -p -m -f - -C "$build/tree"
	)
	mv "$build/tree/.copied.new" "$build/tree/.copied"
	# What is no longer in the checkout must not be in the build either.
	(cd "$build/tree" && find plugin include -type f -name '*.[ch]' 2>/dev/null |
		while read -r f; do [ -e "$checkout/$f" ] || rm -f "$f"; done)
}

build_sckpt() {
	[ -f "$checkout/configure.ac" ] || die "$checkout has no configure.ac"
	mkdir -p "$state"
	build_lock
	# In a machine that has been given the build (test/vm).
	[ -n "${SCKPT_TEST_BUILT:-}" ] || build_make
	build_install >>"$state/build.log" 2>&1 || {
		tail -n 30 "$state/build.log" >&2
		die "the packages cannot be installed"
	}
	exec 7<&-
}

build_make() {
	say "building sckpt (log: $state/build.log)"
	build_copy
	# shellcheck disable=SC2016
	build_in sh -ec '
		stamp=$(cat configure.ac Makefile.am | sha256sum)
		if [ "$(cat .stamp 2>/dev/null)" != "$stamp" ]; then
			./autogen.sh
			multiarch=$(gcc -print-multiarch)
			./configure --prefix=/usr --sysconfdir=/etc --libexecdir=/usr/libexec \
				--libdir=/usr/lib/$multiarch --enable-werror CRIU=/usr/sbin/criu
			make clean # what was linked with other flags
			echo "$stamp" >.stamp
		fi
		make -j"$(nproc)"
		rm -rf deb && mkdir deb /tmp/deb && cp -R config/debian /tmp/deb/debian && cd /tmp/deb
		DEB_BUILD_OPTIONS="noautodbgsym nostrip" debian/rules binary SCKPT_BUILD=/build
		mv ../*.deb /build/deb
	' >"$state/build.log" 2>&1 || {
		tail -n 30 "$state/build.log" >&2
		die "the build failed"
	}
}

# Installs the packages over the nodes' root, by its own dpkg; what that writes is
# the nodes' uppermost layer. Without a cluster there is no root to install
# over, and they are unpacked.
build_install() {
	local new=$state/dest.new package
	rm -rf --one-file-system "$new"
	mkdir -p "$new/up" "$new/work" "$new/m" "$state/dest"
	chmod 755 "$new/up"
	if [ -s "$run/root" ]; then
		# shellcheck disable=SC2016
		unshare --mount --propagation private bash -ec '
			mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/up,workdir=$2/work" "$2/m"
			mkdir "$2/m/deb"
			mount --bind "$3" "$2/m/deb"
			chroot "$2/m" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
				sh -c "exec dpkg --force-unsafe-io --install /deb/*.deb"
		' bash "$(paste -sd: "$run/root")" "$new" "$build/tree/deb" || return
		rmdir "$new/up/deb"
	else
		for package in "$build/tree/deb"/*.deb; do
			dpkg-deb --extract "$package" "$new/up" || return
		done
		# sckpt.postinst's part
		cp "$new/up/usr/share/sckpt"/* "$new/up/usr/libexec/sckpt" || return
	fi
	rm -rf --one-file-system "${state:?}/dest"/*
	mv "$new/up"/* "$state/dest" && rm -rf --one-file-system "$new"
}
