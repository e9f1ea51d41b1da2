# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as a table, with the bars they have to meet, and as a plot."""
import os
import statistics

# Figure, sckpt's value, what it is divided by, its bar by kind ("": any other).
RATIOS = [
    ("frozen", "sckpt.frozen_us", "bare.frozen_us", {"random": .90, "half": .60, "text": .60}),
    ("frozen, 5 % of pages changed", "sckpt.frozen_us_changed", "bare.frozen_us", {"": .35}),
    ("frozen, pages read by nobody", "bare.floor_us", "bare.frozen_us", {}),
    ("dump to durable", "sckpt.dump_us", "bare.dump_us",
     {"random": .85, "half": .60, "doubles": .60, "text": .60}),
    ("dump, 5 % of pages changed", "sckpt.dump_us_changed", "bare.dump_us", {}),
    ("restore", "sckpt.restore_us", "bare.restore_us",
     {"random": 1.05, "half": .80, "text": .80}),
    ("stored / resident", "sckpt.stored_bytes", "sckpt.resident_bytes",
     {"half": .55, "text": .40}),
    ("stored, 5 % of pages changed / first", "sckpt.stored_bytes_changed",
     "sckpt.stored_bytes", {"": .10}),
    ("stored, grown by 10 % / first", "sckpt.stored_bytes_grown", "sckpt.stored_bytes",
     {"": .25}),
    ("dump against dd", "sckpt.dump_us", "dd.copy_us", {}),
    ("bare criu's dump against dd", "bare.dump_us", "dd.copy_us", {}),
]
# A small program's are milliseconds more than bare criu's.
DIFFERENCES = [("dump", "sckpt.dump_us", "bare.dump_us", 10),
               ("restore", "sckpt.restore_us", "bare.restore_us", 10)]
# Of the agent's memory.
PEAK_SIZE, PEAK_BUFFER, PEAK_BAR_MIB = "4096", "64M", 128


# With nothing else running the load average stays below this.
ALONE = 2


def value(result, name):
    side, key = name.split(".")
    return result.get(side, {}).get(key)


def pairs(results, ours, theirs):
    both = [(value(r, ours), value(r, theirs)) for r in results]
    return [(a, b) for a, b in both if a is not None and b]


def show(name, v):
    return f"{v / 2**20:.1f} MiB" if "bytes" in name else f"{v / 1000:.1f} ms"


def brief(result):
    return ", ".join(f"{side} {key[:-3]} {result[side][key] / 1000:.0f} ms"
                     for side in ("bare", "dd", "sckpt") if side in result
                     for key in ("frozen_us", "dump_us", "restore_us", "copy_us")
                     if key in result[side])


def verdict(met):
    return "met" if met else "NOT MET"


def ratio_lines(results, kind):
    for what, ours, theirs, bars in RATIOS:
        both = pairs(results, ours, theirs)
        if not both:
            continue
        ratios = [a / b for a, b in both]
        median = statistics.median(ratios)
        bar = bars.get(kind, bars.get(""))
        yield (what, show(theirs, statistics.median(b for _, b in both)),
               show(ours, statistics.median(a for a, _ in both)), f"{median:.2f}",
               f"{min(ratios):.2f} to {max(ratios):.2f}",
               f"<= {bar:.2f} {verdict(median <= bar)}" if bar else "")


def difference_lines(results):
    for what, ours, theirs, bar in DIFFERENCES:
        both = pairs(results, ours, theirs)
        if not both:
            continue
        more = [(a - b) / 1000 for a, b in both]
        median = statistics.median(more)
        yield (what, show(theirs, statistics.median(b for _, b in both)),
               show(ours, statistics.median(a for a, _ in both)), f"{median:+.1f} ms",
               f"{min(more):+.1f} to {max(more):+.1f}",
               f"<= {bar} ms {verdict(median <= bar)}")


BASELINES = {"bare.frozen_us": "bare criu, frozen", "bare.criu_us": "bare criu, dump",
             "bare.dump_us": "bare criu, dump and fsync",
             "bare.restore_us": "bare criu, restore", "bare.stored_bytes": "bare criu, stored",
             "dd.copy_us": "dd of as many bytes and fsync"}


def baseline_lines(results):
    for name, what in BASELINES.items():
        seen = [v for v in (value(r, name) for r in results) if v is not None]
        if seen:
            yield (what, show(name, statistics.median(seen)), "", "",
                   f"{show(name, min(seen))} to {show(name, max(seen))}", "")


def peak_lines(results, size):
    peaks = [v for v in (value(r, "sckpt.peak_bytes") for r in results) if v]
    if peaks:
        peak = max(peaks) / 2**20
        bar = f"<= {PEAK_BAR_MIB} MiB {verdict(peak <= PEAK_BAR_MIB)}"
        yield ("agent's peak memory", "", f"{peak:.0f} MiB", "", "",
               bar if size == PEAK_SIZE and results[0].get("buffer") == PEAK_BUFFER else "")


def groups(results):
    """In order, all results of one size, place and kind."""
    keys = list(dict.fromkeys((r["size"], r["place"], r["kind"]) for r in results))
    for key in keys:
        yield key, [r for r in results if (r["size"], r["place"], r["kind"]) == key]


def table(results):
    head = ("figure", "against", "sckpt", "ratio", "spread", "bar")
    widths = (38, 12, 12, 8, 22, 0)
    text = []

    def line(cells):
        text.append("  ".join(c.ljust(w) for c, w in zip(cells, widths)).rstrip())

    for (size, place, kind), some in groups(results):
        label = f"{size} MiB" if size.isdigit() else size
        text.append(f"== {label}, {kind}, {place}: medians of {len(some)} runs")
        line(head)
        lines = difference_lines(some) if size == "small" else ratio_lines(some, kind)
        for cells in [*baseline_lines(some), *lines, *peak_lines(some, size)]:
            line(cells)
        text.append("")
    text.append("Restores from disk: the page cache had forgotten the images, on both sides.")
    loads = [r["load"] for r in results]
    text.append(f"Load average of this machine, {os.cpu_count()} processors: "
                f"{min(loads):.1f} to {max(loads):.1f} (alone it stays below "
                f"{ALONE}; above, others are measured, too).")
    return "\n".join(text) + "\n"


PANELS = [
    ("frozen", {"bare criu": "bare.frozen_us", "sckpt": "sckpt.frozen_us",
                "sckpt, 5 % changed": "sckpt.frozen_us_changed"}),
    ("dump, start to durable", {"dd, as many bytes": "dd.copy_us", "bare criu": "bare.dump_us",
                                "sckpt": "sckpt.dump_us",
                                "sckpt, 5 % changed": "sckpt.dump_us_changed"}),
    ("restore, start to running", {"bare criu": "bare.restore_us",
                                   "sckpt": "sckpt.restore_us"}),
]
COLOURS = {"dd, as many bytes": "#bbbbbb", "bare criu": "#888888", "sckpt": "#1f77b4",
           "sckpt, 5 % changed": "#7fb8e0"}


def panel(axes, cells, what, series):
    """Seconds per GiB, so that sizes can be seen together; sckpt's bars tell
    their ratio to bare criu."""
    width = 0.8 / len(series)
    for n, (name, figure) in enumerate(series.items()):
        for x, (_, some) in enumerate(cells):
            seen = [value(r, figure) / 1e6 / (r["mib"] / 1024) for r in some
                    if value(r, figure) is not None]
            if not seen:
                continue
            median = statistics.median(seen)
            place = x + (n - (len(series) - 1) / 2) * width
            axes.bar(place, median, width, color=COLOURS[name],
                     yerr=[[median - min(seen)], [max(seen) - median]],
                     error_kw={"linewidth": 0.6})
            ratios = [a / b for a, b in pairs(some, figure, series["bare criu"])]
            if name.startswith("sckpt") and ratios:
                axes.text(place, median, f"{statistics.median(ratios):.2f}", ha="center",
                          va="bottom", fontsize=6)
    axes.set_xticks(range(len(cells)), [f"{s} {k}" for (s, _, k), _ in cells], rotation=60,
                    ha="right", fontsize=7)
    axes.set_ylabel("s per GiB", fontsize=8)
    axes.set_title(what, fontsize=9)


def plot(results, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import patches, pyplot

    # Per GiB a small program's figures mean nothing.
    results = [r for r in results if r["size"] != "small"]
    places = list(dict.fromkeys(r["place"] for r in results))
    if not places:
        return
    figure, all_axes = pyplot.subplots(len(PANELS), len(places), squeeze=False,
                                       figsize=(7 * len(places), 3.4 * len(PANELS)))
    for column, place in enumerate(places):
        cells = [(key, some) for key, some in groups(results) if key[1] == place]
        for row, (what, series) in enumerate(PANELS):
            panel(all_axes[row][column], cells, f"{what}, {place}", series)
    figure.legend(handles=[patches.Patch(color=c, label=n) for n, c in COLOURS.items()],
                  loc="lower center", ncol=len(COLOURS), fontsize=8)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, dpi=130)
