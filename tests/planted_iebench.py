"""Planted results of the 3DIEBench benchmark, numbers that tell their place, and where they stand in its tables."""

from __future__ import annotations

from contextssl.evaluation.results import Result

LENGTHS = (0, 2, 14, 30, 126)
PROBES = ("linear", "linear-standardised", "knn-10")
FALL = {0: 0.0, 2: 0.1, 14: 0.3, 30: 0.45, 126: 0.4}  # of the untold group


def value(target: str, probe: str, environment: str, control: str, length: int, seed: int, fall: float = 1.0) -> float:
    """A number that tells its place: groups start at .7 and .8, untold ones fall, lies cost .2 of the told group."""
    start = {"rotation": 0.7, "color": 0.8, "category": 0.95}[target] + PROBES.index(probe) / 100 + 0.01 * seed
    if target == "category" or environment == "-":
        return start
    lie = 0.2 if control in ("shuffled", "noise", "wrong-group") else 0.0
    return start - lie - 0.001 * (length > 2) if target == environment else start - fall * FALL[length]


def results(seed: int, fall: float = 1.0, simclr: bool = False) -> list[Result]:
    """Planted results of one run; two context draws at each length."""
    cells = [("-", "-", 0)]
    if not simclr:
        cells += [("-", "empty", 0)]
        cells += [(told, "true", length) for told in ("rotation", "color", "none") for length in LENGTHS[1:]]
        cells += [(told, lie, 126) for told in ("rotation", "color") for lie in ("shuffled", "noise", "wrong-group")]
    found = []
    for environment, control, length in cells:
        for target, metric, floor in (
            ("rotation", "r2_dim_mean", -0.1),
            ("color", "r2_dim_mean", 0.0),
            ("category", "accuracy", 0.25),
        ):
            for probe in PROBES:
                for draw in range(2 if length else 1):
                    number = value(target, probe, environment, control, length, seed, fall) + (0.02 * draw - 0.01 * (length > 0))
                    found.append(
                        Result("attribute-probe/1", target, probe, metric, environment, control, length, draw, seed, "test",
                               number, floor, method="simclr" if simclr else "context_ssl")
                    )  # fmt: skip
    # Another protocol's rows of the same targets must stay out of the way.
    found.append(
        Result("predicted-probe/1", "rotation", "linear", "r2_dim_mean", "rotation", "true", 126, 0, seed, "test", 9.0, 0.0)
    )
    return found


def line(table: str, *labels: str) -> list[str]:
    """The cells of the line with those labels."""
    (found,) = [row for row in table.splitlines() if row.startswith(f"| {' | '.join(labels)} |")]
    return found.strip("| ").split(" | ")[len(labels) :]
