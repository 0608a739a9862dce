"""A domain from your own table: a short YAML file says what its columns are, which are sensitive, and what is predicted.

N rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import nn

from contextssl.adapter import Split
from contextssl.files import sha256
from domains.tabular.classes import Classes, listed, read_classes
from domains.tabular.column_kinds import IGNORED, check_rule, found_rule
from domains.tabular.encoders import TabularEncoder
from domains.tabular.preprocessing import MISSING, Categorical, Column, Numeric, TableSchema
from domains.tabular.samplers import PairSampler
from domains.tabular.schema import ColumnKind, ColumnRule, TableDescription, close_match, read_schema
from domains.tabular.sensitive_table import ActionCode, SensitiveAttribute, SensitiveTable, Target
from domains.tabular.splits import drawn_splits
from domains.tabular.table_files import Cells, read_cells

LOG = logging.getLogger("contextssl")
# Names of columns have no spaces around them, so this is none of theirs.
ITEM = " item"

Rules = Mapping[str, ColumnRule]
Frames = dict[Split, pd.DataFrame]


def described_table(
    schema: str | Path, *, pairs: PairSampler | None = None, action_code: ActionCode | str = ActionCode.TARGET,
    encoder: Callable[[int], nn.Module] = TabularEncoder, balance_sensitive: bool = False, trajectories: bool = False,
    told_targets: Sequence[str] = (),
) -> SensitiveTable:  # fmt: skip
    """The domain that a schema file describes (docs/tutorials/own_table.md).

    Columns that the schema does not name get a kind from what they hold. Rows without a sensitive value or a target
    are left out. Both are said in the log and in the manifest; rows themselves never are.

    Args:
        schema: the YAML file; the table's path in it starts at its folder.
        pairs: how partners are drawn; `Matched` on all columns that are not sensitive when None.
        action_code: how actions are written.
        encoder: from the input width to a fresh encoder.
        balance_sensitive: draw x evenly over the combinations of sensitive values.
        trajectories: whether every sequence shows one row and then partners of it.
        told_targets: targets of two classes that are groups beside the attributes, which contexts can tell.

    Raises:
        FileNotFoundError: for a missing schema or table.
        ValueError: for whatever is wrong in either, naming the setting, the column or the line.
    """
    path = Path(schema)
    description = read_schema(path)
    cells = read_cells(path.parent / description.file, description.separator, description.missing)
    try:
        classes, rules, frames = _rows(description, cells)
        columns = [_input_column(frames, name, rule) for name, rule in rules.items()]
        attributes = [
            SensitiveAttribute(name, (classes[name].names[0], classes[name].names[1])) for name in description.sensitive
        ]
        inputs = (*columns, *(Categorical(attribute.name, attribute.values) for attribute in attributes))
        num_used = sum(map(len, frames.values()))
        everything = replace(description, columns={name: rules.get(name, IGNORED) for name in cells.names})
        return SensitiveTable(
            {split: _known_categories(frame, columns) for split, frame in frames.items()},
            TableSchema(inputs, tuple(description.sensitive)),
            attributes=attributes,
            targets=[Target(name, classes[name].names) for name in description.targets],
            pairs=pairs,
            action_code=action_code,
            encoder=encoder,
            balance_sensitive=balance_sensitive,
            trajectories=trajectories,
            told_targets=told_targets,
            item=ITEM,
            manifest={
                "name": cells.path.name.partition(".")[0],
                "source": str(cells.path),
                "stand_in": False,
                "sha256": sha256(cells.path),
                "rows_left_out": len(cells.frame) - num_used,
                "schema": everything.settings(),
            },
        )
    except ValueError as error:
        if str(error).startswith(str(cells.path)):
            raise
        raise ValueError(f"{cells.path}: {error}") from error


def _rows(description: TableDescription, cells: Cells) -> tuple[dict[str, Classes], Rules, Frames]:
    """The classes by name, what each input column is, and the rows of each split."""
    _check_columns(description, cells)
    classes = {
        name: read_classes(cells, rule, f"{part}.{name}")
        for part, rules in (("sensitive", description.sensitive), ("targets", description.targets))
        for name, rule in rules.items()
    }
    for name in description.sensitive:
        if len(names := classes[name].names) > 2:
            raise ValueError(
                f"sensitive.{name}: more than two values, {listed(list(names))}; say which one counts, as [rest, VALUE]"
            )
    rules = _input_rules(description, cells)
    labels = pd.DataFrame({name: found.labels for name, found in classes.items()})
    inputs = pd.DataFrame({name: _values(cells, name, rule) for name, rule in rules.items()}, index=labels.index)
    whole = labels.notna().all(axis=1).to_numpy()
    frame = pd.concat([inputs, labels, _items(description, cells)], axis=1)[whole]
    if frame.empty:
        raise ValueError("every row lacks a sensitive value or a target; look at the `missing` marks")
    split = _splits(description, cells, frame, pd.factorize(labels[whole].agg("|".join, axis=1))[0])
    frames = {name: frame[split == name] for name in Split if (split == name).any()}
    sizes = ", ".join(f"{name} {len(rows):,}" for name, rows in frames.items())
    LOG.info("%s: %s rows, %d left out for want of a class; %s", cells.path.name, f"{len(labels):,}", (~whole).sum(), sizes)
    return classes, rules, frames


def _check_columns(description: TableDescription, cells: Cells) -> None:
    """Every column that the schema names is there, and has one meaning."""
    used = _used(description)
    known = cells.names
    for where, column in {**used, **{f"columns.{name}": name for name in description.columns}}.items():
        if column not in known:
            raise ValueError(f"{where}: there is no column {column!r}{close_match(column, known)} The table has {listed(known)}")
    for where, column in used.items():
        # A sensitive column may be called what it is; other columns of this kind are no inputs.
        allowed = (ColumnKind.IGNORE, ColumnKind.CATEGORICAL) if where.startswith("sensitive.") else (ColumnKind.IGNORE,)
        if column in description.columns and description.columns[column].kind not in allowed:
            raise ValueError(f"columns.{column}: this is {where} and can be no input of its own; leave it out of `columns`")
    for name, rule in {**description.sensitive, **description.targets}.items():
        if name != rule.column and name in known:
            raise ValueError(
                f"{name!r} is read from the column {rule.column!r}, but another column has this name; call it otherwise"
            )


def _used(description: TableDescription) -> dict[str, str]:
    """Columns that are not inputs as they stand, by the setting that names them."""
    sensitive = {f"sensitive.{name}": rule.column for name, rule in description.sensitive.items()}
    targets = {f"targets.{name}": rule.column for name, rule in description.targets.items()}
    split = {"split.column": description.split.column, "split.group": description.split.group}
    return sensitive | targets | {where: column for where, column in split.items() if column is not None}


def _input_rules(description: TableDescription, cells: Cells) -> Rules:
    """What each input column is, in the table's order; what was found by itself is said."""
    rules, left_out = {}, []
    used = set(_used(description).values())
    for name in cells.names:
        if name in used:
            continue
        if name in description.columns:
            rules[name] = description.columns[name]
            check_rule(cells, name, rules[name])
            continue
        rules[name], reason = found_rule(cells, name)
        left_out += [f"{name} ({reason})"] if reason else []
    found = [f"{name} {rule.kind}" for name, rule in rules.items() if name not in description.columns and rule != IGNORED]
    LOG.info("%s: kinds found: %s; left out: %s", cells.path.name, ", ".join(found) or "none", ", ".join(left_out) or "none")
    return {name: rule for name, rule in rules.items() if rule.kind is not ColumnKind.IGNORE}


def _values(cells: Cells, name: str, rule: ColumnRule) -> pd.Series:
    return cells.numbers(name) if rule.kind is ColumnKind.NUMERIC else cells.words(name).fillna(MISSING)


def _items(description: TableDescription, cells: Cells) -> pd.Series:
    """Whose row each is: the row's number, or a number for each value of the group column."""
    if (group := description.split.group) is None:
        return pd.Series(np.arange(len(cells.frame)), name=ITEM)
    words = cells.words(group)
    if (wrong := np.flatnonzero(words.isna().to_numpy())).size:
        raise ValueError(
            f"{cells.place(wrong[0])}: {group} is missing, so nobody knows whose row this is; fill it in or remove the line"
        )
    return pd.Series(pd.factorize(words)[0], name=ITEM)


def _splits(
    description: TableDescription, cells: Cells, frame: pd.DataFrame, classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.object_]:
    """[N] the split of each row that is used, from a column or drawn."""
    rule, item = description.split, frame[ITEM].to_numpy()
    strata = classes if rule.stratified else np.zeros_like(classes)
    if rule.column is None:
        return drawn_splits(item, strata, rule.shares, rule.seed)
    words = cells.words(rule.column)[frame.index]
    known = {word: split for split, called in rule.names.items() for word in called}
    if strange := sorted(set(words.dropna()) - set(known)) or (["nothing"] if words.isna().any() else []):
        raise ValueError(
            f"split.column: {rule.column!r} holds {listed(strange)}, expected {listed(list(known))}; say what it calls them, as "
            "`split: {train: NAME, test: NAME}`"
        )
    split = words.map(known).to_numpy(dtype=object)
    if (several := int((pd.Series(split).groupby(item).nunique() > 1).sum())) > 0:
        raise ValueError(
            f"split.group: {several:,} values of {rule.group!r} have rows in several splits; correct the split column"
        )
    if Split.VALIDATION not in split:
        train = split == Split.TRAIN
        split[train] = drawn_splits(item[train], strata[train], (rule.shares[0], 0.0), rule.seed)
    return split


def _input_column(frames: Frames, name: str, rule: ColumnRule) -> Column:
    """The column with its vocabulary: the categories of training rows, and `?` where another row lacks one of them."""
    train = frames.get(Split.TRAIN, pd.DataFrame(columns=[name]))[name]
    if rule.kind is ColumnKind.NUMERIC:
        if train.isna().all():
            raise ValueError(f"columns.{name}: the training rows hold no number; ignore the column")
        return Numeric(name, rule.log1p, rule.num_bins, impute=any(bool(rows[name].isna().any()) for rows in frames.values()))
    known = set(train)
    unseen = set().union(*(set(rows[name]) - known for rows in frames.values()))
    if unseen - {MISSING}:
        LOG.info("column %s: %d categories that no training row has are read as missing", name, len(unseen - {MISSING}))
    return Categorical(name, tuple(sorted(known | ({MISSING} if unseen else set()))))


def _known_categories(frame: pd.DataFrame, columns: list[Column]) -> pd.DataFrame:
    """The rows with categories outside the vocabulary made missing."""
    known = {
        column.name: frame[column.name].where(frame[column.name].isin(column.categories or ()), MISSING)
        for column in columns
        if isinstance(column, Categorical)
    }
    return frame.assign(**known)
