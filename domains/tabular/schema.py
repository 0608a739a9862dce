"""The description of a user's table, read from a short YAML file: columns, sensitive attributes, targets, split.

Every scalar is read as text, so that `no`, `1` and `1e3` are the categories that they look like.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from contextssl.adapter import Split

REST = "rest"  # stands for every value that is not listed
MISSING_MARKS = ("", "?", "NA", "N/A", "NaN", "nan", "null", "NULL")
SHARES = (0.15, 0.15)


class ColumnKind(StrEnum):
    """What a column is."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """What a column is, and for numbers whether log(1 + x) is taken and how many quantile bins there are."""

    kind: ColumnKind
    log1p: bool = False
    num_bins: int = 12


@dataclass(frozen=True, slots=True)
class ClassRule:
    """How classes are read from a column: its values, all of them when None; or whether a number is above a limit.

    `rest` among the values stands for every other one, unless the column holds that word itself.
    """

    column: str
    values: tuple[str, ...] | None = None
    above: float | None = None


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How rows are divided.

    Attributes:
        column: that names each row's split; None to draw.
        names: what the column calls each split.
        shares: of validation and test. With a column, validation is drawn from the training rows if it names none.
        seed: of the draw.
        stratified: whether every combination of sensitive values and targets is divided alike.
        group: a column; rows that agree in it stay together.
    """

    column: str | None = None
    names: Mapping[Split, tuple[str, ...]] = field(default_factory=lambda: {split: (str(split),) for split in Split})
    shares: tuple[float, float] = SHARES
    seed: int = 0
    stratified: bool = True
    group: str | None = None


@dataclass(frozen=True, slots=True)
class TableDescription:
    """A table file and what its columns mean; `separator` None is found from the header."""

    file: str
    sensitive: Mapping[str, ClassRule]
    targets: Mapping[str, ClassRule]
    columns: Mapping[str, ColumnRule] = field(default_factory=dict)
    split: SplitRule = field(default_factory=SplitRule)
    separator: str | None = None
    missing: tuple[str, ...] = MISSING_MARKS

    def settings(self) -> dict[str, Any]:
        """The same as the YAML file would say it, complete; `described` reads it back."""
        split = self.split
        drawn: dict[str, Any] = {"shares": list(split.shares), "seed": split.seed, "stratified": split.stratified}
        drawn |= {"group": split.group} if split.group else {}
        named = {"column": split.column, **{str(name): list(words) for name, words in split.names.items()}}
        return {
            "file": self.file,
            **({"separator": self.separator} if self.separator else {}),
            "missing": list(self.missing),
            "columns": {name: _column_settings(rule) for name, rule in self.columns.items()},
            "sensitive": {name: _class_settings(rule) for name, rule in self.sensitive.items()},
            "targets": {name: _class_settings(rule) for name, rule in self.targets.items()},
            "split": drawn if split.column is None else named | drawn,
        }


def read_schema(path: Path) -> TableDescription:
    """The description in a YAML file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for what is no YAML, names something twice, or has a setting that does not exist; the message says where.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such schema; give a YAML file that describes the table (docs/tutorials/own_table.md)"
        )
    try:
        settings = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_TextLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line}: {error.problem}; quote values that hold any of > ? : # [ {{") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no YAML in UTF-8 ({str(error).splitlines()[0]})") from error
    try:
        return described(settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def described(settings: Any) -> TableDescription:
    """The description in nested settings; ValueError naming the setting that is wrong."""
    found = _mapping(settings, "the schema", ("file", "separator", "missing", "columns", "sensitive", "targets", "split"))
    if not (file := _text(found.get("file"), "file")):
        raise ValueError("file: no table is named; give a CSV or Parquet file, from this schema's own folder")
    sensitive = {name: _classes(name, rule, "sensitive") for name, rule in _mapping(found.get("sensitive"), "sensitive").items()}
    targets = {name: _classes(name, rule, "targets") for name, rule in _mapping(found.get("targets"), "targets").items()}
    for part, rules in (("sensitive", sensitive), ("targets", targets)):
        if not rules:
            raise ValueError(f"{part}: at least one column is needed, as in `{part}: {{NAME: [VALUE, OTHER]}}`")
    if both := sorted(set(sensitive) & set(targets)):
        raise ValueError(f"{both[0]!r} is both sensitive and a target; sensitive attributes are read out anyway")
    for name, rule in sensitive.items():
        if rule.values is not None and len(rule.values) != 2:
            raise ValueError(
                f"sensitive.{name}: expected two values, found {', '.join(rule.values)}; put several together as [rest, VALUE]"
            )
    return TableDescription(
        file,
        sensitive,
        targets,
        {name: _column(name, rule) for name, rule in _mapping(found.get("columns"), "columns").items()},
        _split(found.get("split")),
        _separator(found.get("separator")),
        MISSING_MARKS if "missing" not in found else _texts(found["missing"], "missing"),
    )


def close_match(name: str, known: Collection[str]) -> str:
    """`; did you mean 'x'?` or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


class _TextLoader(yaml.BaseLoader):
    """Scalars as text, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands here for the second time", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _mapping(settings: Any, where: str, known: Collection[str] | None = None) -> dict[str, Any]:
    """Named settings, without the empty ones; ValueError for names that are not known, if some are."""
    if settings in (None, ""):
        return {}
    if not isinstance(settings, Mapping):
        raise ValueError(f"{where}: expected `name: value` lines, found {settings!r}")
    if known is not None and (strange := [name for name in settings if name not in known]):
        raise ValueError(f"{where}: unknown setting {strange[0]!r}{close_match(strange[0], known)} There are {', '.join(known)}")
    return {str(name): value for name, value in settings.items() if known is None or value not in (None, "")}


def _text(value: Any, where: str) -> str:
    if isinstance(value, Mapping | list):
        raise ValueError(f"{where}: expected one word, found {value!r}")
    return "" if value is None else str(value)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    """One or several words."""
    return tuple(_text(word, where) for word in value) if isinstance(value, list) else (_text(value, where),)


def _number(value: Any, where: str) -> float:
    try:
        return float(_text(value, where))
    except ValueError as error:
        raise ValueError(f"{where}: expected a number, found {value!r}") from error


def _whole(value: Any, where: str) -> int:
    if (number := _number(value, where)) != int(number) or number < 0:
        raise ValueError(f"{where}: expected a whole number, 0 or more, found {value!r}")
    return int(number)


def _switch(value: Any, where: str) -> bool:
    if (word := str(value).lower()) not in ("true", "false"):
        raise ValueError(f"{where}: expected true or false, found {value!r}")
    return word == "true"


def _separator(value: Any) -> str | None:
    word = {"\\t": "\t", "tab": "\t"}.get(text := _text(value, "separator"), text)
    if len(word) > 1:
        raise ValueError(f"separator: expected one character, or tab, found {word!r}")
    return word or None


def _column(name: str, settings: Any) -> ColumnRule:
    where = f"columns.{name}"
    if not isinstance(settings, Mapping):
        settings = {"kind": settings}
    found = _mapping(settings, where, ("kind", "log1p", "num_bins"))
    kind = _text(found.get("kind", ""), where)
    if kind not in list(ColumnKind):
        raise ValueError(f"{where}: kind {kind!r} is none of {', '.join(ColumnKind)}")
    if kind != ColumnKind.NUMERIC and len(found) > 1:
        raise ValueError(f"{where}: log1p and num_bins are for numeric columns, and this one is {kind}")
    log1p = _switch(found.get("log1p", "false"), f"{where}.log1p")
    return ColumnRule(ColumnKind(kind), log1p, _whole(found.get("num_bins", "12"), f"{where}.num_bins"))


def _classes(name: str, settings: Any, part: str) -> ClassRule:
    """One word for a target is its positive value, everything else being 0."""
    where = f"{part}.{name}"
    if not isinstance(settings, Mapping):
        settings = {"values": settings}
    found = _mapping(settings, where, ("column", "values", "above"))
    if "values" in found and "above" in found:
        raise ValueError(f"{where}: values and above exclude each other")
    values = _texts(found["values"], where) if found.get("values") else None
    if values is not None and len(values) == 1:
        values = (REST, *values)
    if values is not None and len(set(values)) < len(values):
        raise ValueError(f"{where}: a value is listed twice in {', '.join(values)}")
    above = _number(found["above"], f"{where}.above") if "above" in found else None
    return ClassRule(_text(found.get("column", name), where), values, above)


def _split(settings: Any) -> SplitRule:
    names = tuple(str(split) for split in Split)
    found = _mapping(settings, "split", ("column", *names, "shares", "seed", "stratified", "group"))
    column = _text(found.get("column"), "split.column") or None
    if column is None and (given := [name for name in names if name in found]):
        raise ValueError(f"split.{given[0]}: says what a column calls these rows; name it as split.column")
    called = {split: _texts(found.get(str(split), str(split)), f"split.{split}") for split in Split}
    given_shares = _texts(found["shares"], "split.shares") if "shares" in found else SHARES
    shares = tuple(_number(share, "split.shares") for share in given_shares)
    if len(shares) != 2 or min(shares) <= 0 or sum(shares) >= 1:
        raise ValueError(
            f"split.shares: expected the shares of validation and test, two numbers above 0 with a sum below 1, found {list(shares)}"
        )
    return SplitRule(
        column, called, (shares[0], shares[1]), _whole(found.get("seed", "0"), "split.seed"),
        _switch(found.get("stratified", "true"), "split.stratified"), _text(found.get("group"), "split.group") or None,
    )  # fmt: skip


def _column_settings(rule: ColumnRule) -> dict[str, Any]:
    kind = {"kind": str(rule.kind)}
    return kind | {"log1p": rule.log1p, "num_bins": rule.num_bins} if rule.kind is ColumnKind.NUMERIC else kind


def _class_settings(rule: ClassRule) -> dict[str, Any]:
    if rule.above is not None:
        return {"column": rule.column, "above": rule.above}
    return {"column": rule.column} if rule.values is None else {"column": rule.column, "values": list(rule.values)}
