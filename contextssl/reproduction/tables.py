"""What a table of a paper is made of: its rows and runs, where its numbers stand among results, what was published.

A file in configs/reproduce describes one table; `PaperTable.read` turns its content into these classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self, TypeVar

from contextssl.evaluation.controls import Control
from contextssl.evaluation.embeddings import EMPTY, FEATURES
from contextssl.evaluation.results import Result

Part = TypeVar("Part")
Published = Mapping[str, float | Sequence[float | None] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Which numbers of a run's results are meant.

    Attributes:
        label: heading.
        protocol: id without version.
        target, probe, metric: as in `Result`; the metric is the one that was published.
        group: the transformation that is read; None for classes.
        features: read encoder features in every row, also where contexts are told.
        told_at_zero: without context there is a number for each environment, because queries are told it (retrieval).
        split: where it was measured.
        percent: print hundredths.
    """

    label: str
    protocol: str
    target: str
    probe: str
    metric: str
    group: str | None = None
    features: bool = False
    told_at_zero: bool = False
    split: str = "test"
    percent: bool = False

    def select(self, results: Sequence[Result], environment: str | None, length: int | None) -> list[Result]:
        """The results meant, of every probe and metric, seed and draw.

        Args:
            results: of one or several seeds.
            environment: what the context tells.
            length: of the context in tokens; None for encoder features.
        """
        place: tuple[str | None, str, int]
        if length is None or self.features:
            place = (FEATURES.environment, FEATURES.control, 0)
        elif length == 0 and not self.told_at_zero:
            place = (EMPTY.environment, EMPTY.control, 0)
        else:
            place = (environment, Control.TRUE, length)
        return [
            result
            for result in results
            if (result.environment, result.control, result.context_length) == place
            and result.protocol.partition("/")[0] == self.protocol
            and (result.target, result.split) == (self.target, self.split)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method of a table, trained once for each seed.

    Attributes:
        key: its name in folders and files.
        label: its name in print.
        groups: what it is told and should be equivariant to; empty for invariant methods.
        overrides: what makes it this method, at every scale.
        at: further overrides by scale.
        length: context tokens at which its learning rates are scored; None for encoder features.
        rate_of: key of the row whose learning rate it takes, for variants of one method; None to choose its own.
    """

    key: str
    label: str
    groups: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    at: Mapping[str, tuple[str, ...]]
    length: int | None = None
    rate_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Numbers of one reading: from features, or at one context length after another.

    Attributes:
        read: key of the reading.
        lengths: context tokens; None for encoder features.
        environment: what the context tells; what the line says when None.
    """

    read: str
    lengths: tuple[int, ...] | None = None
    environment: str | None = None

    @property
    def places(self) -> tuple[int | None, ...]:
        """Context lengths of its cells; one None for features."""
        return (None,) if self.lengths is None else self.lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a block.

    Attributes:
        row: key of the row whose runs it shows.
        environment: what the context tells.
        label: second label, beside the row's.
        published: the paper's numbers by reading; one for each length where the column has lengths.
        instead: reading -> the one that this line shows in its column.
    """

    row: str
    environment: str | None = None
    label: str = ""
    published: Published
    instead: Mapping[str, str]

    def number(self, read: str, place: int) -> float | None:
        """The published number at the given place of a column's cells."""
        found = self.published.get(read)
        if found is None or isinstance(found, int | float):
            return found if found is None or place == 0 else None
        return found[place] if place < len(found) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Lines under common headings.

    Attributes:
        title: above it.
        columns: left to right.
        lines: top to bottom.
        note: below it.
    """

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the runs of a table are.

    Attributes:
        about: in one sentence.
        overrides: for every row.
        data: name of a data set to prepare first, and overrides of it; empty where the user has to bring it.
        rates: candidates for the learning rate; empty to use what the overrides say.
        learning_rates: file in configs/reproduce of the rates chosen earlier; None to choose.
    """

    about: str
    overrides: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()
    learning_rates: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """A table of a paper.

    Attributes:
        title, source: what it is and where it was published.
        readings, rows, blocks, scales: its parts.
        score: readings whose mean chooses learning rates, measured on validation items.
        note: what a reader must know.
    """

    title: str
    source: str
    readings: Mapping[str, Reading]
    rows: tuple[Row, ...]
    blocks: tuple[Block, ...]
    scales: Mapping[str, Scale]
    score: tuple[str, ...] = ()
    note: str = ""

    @classmethod
    def read(cls, content: Mapping[str, Any], name: str) -> Self:
        """The table that a file describes.

        Args:
            content: of the file.
            name: of the table, for messages.

        Raises:
            ValueError: for keys that are missing or unknown, and for rows and readings that are named but not there.
        """
        content = dict(content)
        table = _build(cls, f"table {name}", content | {
            "readings": {key: _build(Reading, f"{name}: reading {key}", value) for key, value in content.get("readings", {}).items()},
            "rows": tuple(_row(f"{name}: rows", value) for value in content.get("rows", ())),
            "blocks": tuple(_block(f"{name}: blocks", value) for value in content.get("blocks", ())),
            "scales": {key: _build(Scale, f"{name}: scale {key}", value) for key, value in content.get("scales", {}).items()},
        })  # fmt: skip
        table._check(name)
        return table

    def row(self, key: str) -> Row:
        """The row of that key."""
        return next(row for row in self.rows if row.key == key)

    def _check(self, name: str) -> None:
        keys = [row.key for row in self.rows]
        if repeated := {key for key in keys if keys.count(key) > 1}:
            raise ValueError(f"table {name}: two rows are called {sorted(repeated)[0]!r}")
        named = [(line.row, keys) for block in self.blocks for line in block.lines]
        named += [(column.read, list(self.readings)) for block in self.blocks for column in block.columns]
        named += [(read, list(self.readings)) for read in self.score]
        lines = [line for block in self.blocks for line in block.lines]
        named += [
            (read, list(self.readings)) for line in lines for read in (*line.published, *line.instead, *line.instead.values())
        ]
        named += [(scale, list(self.scales)) for row in self.rows for scale in row.at]
        named += [(row.rate_of, [other.key for other in self.rows if not other.rate_of]) for row in self.rows if row.rate_of]
        given = [number for line in lines for value in line.published.values() for number in _numbers(value)]
        if words := [number for number in given if isinstance(number, str)]:
            raise ValueError(f"table {name}: the published {words[0]!r} is a word, not a number; write -0.5 for -.5")
        for word, known in named:
            if word not in known:
                raise ValueError(f"table {name}: {word!r} is named but not described; there are {', '.join(known)}")


def on_base(content: Mapping[str, Any], base: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The content of a file with what it takes from another's: readings, score and scales, and rows that are only named.

    A row that had its learning rate from one that is not taken over chooses its own.

    Raises:
        ValueError: for a named row that is not there.
    """
    known = {row["key"]: row for row in base["rows"]}
    if absent := [row for row in content["rows"] if isinstance(row, str) and row not in known]:
        raise ValueError(f"table {name}: row {absent[0]!r} is not in the table it builds on; there are {', '.join(known)}")
    rows = [known[row] if isinstance(row, str) else row for row in content["rows"]]
    keys = {row["key"] for row in rows}
    return {
        "score": base.get("score", []),
        "scales": base["scales"],
        **content,
        "rows": [{key: value for key, value in row.items() if key != "rate_of" or value in keys} for row in rows],
        "readings": {**base["readings"], **content.get("readings", {})},
    }


def _numbers(value: float | Sequence[float | None] | None) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


def _row(where: str, value: Mapping[str, Any]) -> Row:
    at = {scale: tuple(words) for scale, words in dict(value.get("at") or {}).items()}
    return _build(Row, where, {**value, "at": at})


def _block(where: str, value: Mapping[str, Any]) -> Block:
    columns = tuple(_build(Column, f"{where}: column", column) for column in value.get("columns", ()))
    lines = tuple(_build(Line, f"{where}: line", {"published": {}, "instead": {}, **line}) for line in value.get("lines", ()))
    return _build(Block, where, {**value, "columns": columns, "lines": lines})


def _build(kind: type[Part], where: str, value: Mapping[str, Any]) -> Part:
    """An object from named values, lists as tuples; ValueError for names it does not have or does not get."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := [key for key in value if key not in known]:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(known)}")
    missing = [key for key, field in known.items() if field.default is MISSING and key not in value]
    if missing:
        raise ValueError(f"{where}: {missing[0]!r} is missing")
    return kind(**{key: tuple(item) if isinstance(item, list) else item for key, item in value.items()})
