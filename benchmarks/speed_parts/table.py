"""The record of a run as Markdown tables: what was compared, the ratio, and what it must reach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Record = dict[str, Any]
Row = Sequence[str]


def table(record: Record) -> str:
    """Every part that was measured."""
    parts = {
        "steps": _steps, "peers": _peers, "queries": _queries, "evaluation": _evaluation, "transforms": _transforms,
        "scaling": _scaling, "context_memory": _context_memory,
    }  # fmt: skip
    written = [function(record[part], record) for part, function in parts.items() if part in record]
    return "\n\n".join([_heading(record), *written])


def _heading(record: Record) -> str:
    environment, settings = record["environment"], record["settings"]
    where = (
        ", ".join(environment["gpus"])
        if settings["device"] == "cuda"
        else f"{settings['threads']} threads of {environment['processor']}"
    )
    trial = " **A quick trial: the numbers mean nothing.**" if record["quick"] else ""
    return (
        f"ResNet-18, {settings['images']} images of {settings['side']} pixels in a step, {settings['precision']}, {where}, "
        f"torch {environment['packages']['torch']}, load average {record['load_average']:.1f} before.{trial}"
    )


def _steps(found: Record, record: Record) -> str:
    names = {
        "encoder": "bare encoder, forward and backward", "context_ssl": "ContextSSL, preset `default`", "simclr": "SimCLR",
        "reference": "ContextSSL, preset `reference`", "reference_transformer": "its transformer alone",
    }  # fmt: skip
    bare = found["rows"]["encoder"]["ms"]
    goal = "≤ 1.10" if record["settings"]["device"] == "cpu" else "≤ 1.05"
    goals = {"context_ssl": goal, "simclr": goal}
    rows = [
        (text, _ms(row["ms"]), f"{row['ms'] / bare:.2f}", goals.get(name, ""), _mb(row["memory_mb"]), str(row["rounds"]))
        for name, text in names.items()
        for row in [found["rows"][name]]
    ]
    hours, rate = found["hours_for_the_paper"], found["images_per_second"]
    lines = [
        _markdown(("one step", "ms", "times the encoder", "must reach", "memory, MB", "rounds"), rows),
        f"The transformer of `reference` takes {found['reference_transformer_share']:.0%} of its step; what is left is "
        f"{found['reference_without_transformer_over_encoder']:.2f} times the encoder. At these rates "
        f"({rate['context_ssl']:,.0f} images a second with `default`, {rate['reference']:,.0f} with `reference`) the paper's "
        f"83.8 million images take {hours['context_ssl']:,.1f} and {hours['reference']:,.1f} hours.",
    ]
    if "share_of_product" in found:
        shares = ", ".join(f"`{name}` {value:.0%}" for name, value in found["share_of_product"].items())
        lines.append(f"Of the floating-point rate of one large matrix product, steps reach: {shares}.")
    return "\n\n".join(lines)


def _peers(found: Record, record: Record) -> str:
    ours = found["rows"]["contextssl"]["ms"]
    rows = []
    for name, row in found["rows"].items():
        library, comma, way = name.partition(",")
        version = row["versions"].get(library, "")
        rows.append(
            (f"{library} {version}".strip() + comma + way, _ms(row["ms"]), f"{ours / row['ms']:.2f}", _mb(row["memory_mb"]))
        )
    lines = [_markdown(("SimCLR of", "ms a step", "ours over it", "memory, MB"), rows)]
    if (over := found["over_fastest_peer"]) is not None:
        lines.append(f"Ours takes {over:.2f} times the fastest of the others as they are (must reach ≤ 1.00).")
    if (over := found["over_fastest_peer_keeping_memory"]) is not None:
        lines[-1] += f" Where those keep freed memory as well, it takes {over:.2f} times the fastest."
    for name, environment in found["environments"].items():
        if environment["error"]:
            lines.append(f"{name} was installed {environment['installed']}: `{environment['error']}`.")
    return "\n\n".join(lines)


def _queries(found: Record, record: Record) -> str:
    rows = []
    for row in found["rows"]:
        goal = "≥ 20" if row["context_length"] == 126 else ""
        rates = (f"{row['cached_queries_per_second']:,.0f}", f"{row['uncached_queries_per_second']:,.1f}")
        rows.append((f"`{row['method']}`", str(row["context_length"]), *rates, f"{row['cached_over_uncached']:,.0f}", goal))
    memory = "; ".join(
        f"`{name}` {_mb(values['cached'])} MB cached, {_mb(values['uncached'])} MB not"
        for name, values in found["memory_mb"].items()
    )
    header = ("queries of", "context tokens", "cached, a second", "uncached, a second", "ratio", "must reach")
    return _markdown(header, rows) + f"\n\nMemory of a round at the longest context: {memory}."


def _evaluation(found: Record, record: Record) -> str:
    ours = found["ours"]
    rows = [("ours", f"{ours['ms'] / 1e3:,.1f}", f"{ours['images_encoded']:,}", "", "")]
    for name, text, goal in (
        ("all_images_in_every_epoch", "re-encoding loop, all images in every epoch", "≥ 100"),
        ("one_pair_of_each_object_in_every_epoch", "re-encoding loop, one pair of each object in every epoch", ""),
    ):
        row = found[name]
        rows.append((text, f"{row['seconds']:,.0f}", f"{row['images_encoded']:,}", f"{row['over_ours']:,.0f}", goal))
    header = ("evaluation", "seconds", "images encoded", "times ours", "must reach")
    return (
        _markdown(header, rows) + f"\n\nThe loop's seconds are {found['multiplied_by']} times those of one measured epoch in one environment."
    )  # fmt: skip


def _transforms(found: Record, record: Record) -> str:
    rows = []
    for row in found["rows"]:
        rate = row["images_per_second"]
        theirs = max(rate["torchvision_floats"], rate["torchvision_bytes"])
        rows.append((str(row["side"]), f"{rate['batched']:,.0f}", f"{theirs:,.0f}", f"{row['over_torchvision']:.1f}",
                     f"{row['over_torchvision_drawn_order']:.1f}"))  # fmt: skip
    return _markdown(
        ("crop + blur + colour, pixels", "ours, images a second", "torchvision v2", "ratio", "ratio, drawn order of colours"),
        rows,
    )


def _scaling(found: Record, record: Record) -> str:
    length = found["context_length"]
    families = {
        "context_length": f"context tokens, {found['images']} images",
        "width": f"width of the transformer, {found['images']} images, {length} tokens",
        "images": f"images, {found['context_length_of_images']} tokens",
    }
    rows = [
        (text, member, _ms(row["ms"]), _mb(row["memory_mb"]))
        for family, text in families.items()
        for member, row in found["rows"][family].items()
    ]
    return _markdown(("a step of `default` as it grows", "", "ms", "memory, MB"), rows)


def _context_memory(found: Record, record: Record) -> str:
    rows = [(f"{row['queries']:,}", f"{row['context_mb']:,.1f}", f"{row['copies_would_take_mb']:,.0f}") for row in found["rows"]]
    text = (
        f"A context of {found['context_length']} tokens in {found['num_layers']} layers of width {found['width']} keeps "
        f"{found['keys_and_values_mb']:.1f} MB of keys and values. What it adds to the peak of a batch of queries, scores included:"
    )
    header = ("queries at once", "the context adds, MB", "a copy for each query would take, MB")
    return text + "\n\n" + _markdown(header, rows)


def _markdown(header: Row, rows: Iterable[Row]) -> str:
    """The first column to the left, numbers to the right."""
    marks = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, marks, *rows))


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _mb(value: float) -> str:
    return f"{value:,.0f}"
