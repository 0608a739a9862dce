"""Sentences made from numbers: what was asked, what happened, and what to be careful about."""

from __future__ import annotations

import pandas as pd

from contextssl.reporting import names
from contextssl.reporting.number_format import number, with_bounds
from contextssl.reporting.summary import Readout, Study

# Below this, a difference of two means without intervals is not called a change, and a context has no effect.
_NOTICEABLE = 0.02
# A control that keeps more than this share of the true context's effect acts like the true one.
_ACTS_ALIKE = 0.75


def counted(study: Study) -> str:
    """`3 training seeds, 5 context draws each`."""
    each = " each" if study.num_seeds > 1 else ""
    return f"{_count(study.num_seeds, 'training seed')}, {_count(study.num_draws, 'context draw')}{each}"


def question(study: Study) -> str:
    """What the run asked: which groups were told, over which lengths, what was read out, on how many seeds."""
    drawn = counted(study)
    readers = {target: study.readout(target).probe for target in study.headline_targets}
    probed = names.join([names.target_name(target) for target, probe in readers.items() if probe not in ("-", "head")])
    answered = names.join([names.target_name(target) for target, probe in readers.items() if probe == "head"])
    read = f"Frozen probes read {probed or 'nothing'}"
    if not study.environments or not study.lengths:
        return f"{names.method_name(study.method)} was evaluated without contexts ({drawn}). {read} on the {study.split} split."
    told = names.join([names.environment_name(name) for name in study.environments], "or")
    read = f"{read} from its embeddings"
    if answered:
        read = f"Its own head gives the {answered}" + (f"; frozen probes read {probed} from its embeddings" if probed else "")
    brackets = "; brackets are 95 % intervals" if study.own["low"].notna().any() else ""
    return (
        f"One {names.method_name(study.method)} model, its weights fixed, was {told} by contexts of {study.lengths[0]} to "
        f"{study.lengths[-1]} tokens ({drawn}). {read} on the {study.split} split{brackets}."
    )


def answers(study: Study) -> list[str]:
    """What happened, one paragraph for each group, then one for each target that measures none."""
    sentences = []
    for target in study.headline_targets:
        if len(study.lengths) < 2 or not study.environments:
            break
        sentences.append(_group_answer(study, target) if study.group_of(target) else _other_answer(study, target))
    return [sentence for sentence in sentences if sentence]


def _group_answer(study: Study, target: str) -> str:
    readout = study.readout(target)
    parts = [_course(study, readout, environment) for environment in (study.told(target)[:1] + study.untold(target))]
    if not (sentence := "; ".join(part for part in parts if part)):
        return ""
    floor = study.floor(readout)
    chance = f" (floor {number(floor)})" if floor is not None else ""
    head = f"**{names.target_name(target)}** – {names.metric_name(readout.metric)} of the {names.probe_name(readout.probe)} probe{chance}: {sentence}."
    return " ".join(filter(None, (head, _strongest(study, readout), _any_function(study, target))))


def _course(study: Study, readout: Readout, environment: str) -> str:
    """`told nothing, it falls from .907 [...] to .702 [...]`."""
    first, last = (study.cell(readout, environment, length) for length in (study.lengths[0], study.lengths[-1]))
    if first is None or last is None:
        return ""
    verb = {1: "it rises from {} to {}", -1: "it falls from {} to {}", 0: "it goes from {} to {}, within the noise"}
    if abs(last["mean"] - first["mean"]) < _NOTICEABLE:
        return f"{names.environment_name(environment)}, it is kept, {_bounds(first)} and {_bounds(last)}"
    words = verb[_direction(study, readout, environment)].format(_bounds(first), _bounds(last))
    return f"{names.environment_name(environment)}, {words}"


def _direction(study: Study, readout: Readout, environment: str) -> int:
    """1 for a rise with the context, -1 for a fall, 0 when the change's interval includes none, or it is too small."""
    change = study.change(readout, environment)
    if change is None or abs(change.mean) < _NOTICEABLE or change.low <= 0 <= change.high:
        return 0
    return 1 if change.mean > 0 else -1


def _strongest(study: Study, readout: Readout) -> str:
    """What the strongest of the probes still reads in the longest context that does not tell the group."""
    found = []
    for environment in study.untold(readout.target):
        for other in study.readouts(readout.target, readout.metric):
            if (cell := study.cell(other, environment, study.lengths[-1])) is not None:
                found.append((float(cell["mean"]), other.probe, environment))
    if (count := len({entry[1] for entry in found})) < 2:
        return ""
    value, probe, environment = max(found)
    told = names.environment_name(environment)
    return f"The strongest of {count} probes, {names.probe_name(probe)}, still reads {number(value)} when {told}."


def _any_function(study: Study, target: str) -> str:
    """What is read of the best-read function of the group in the longest context that does not tell it, by precision."""
    functions = f"{study.group_of(target)}_functions"
    if functions not in study.targets:
        return ""
    measured = list(study.own.loc[study.own["target"] == functions, "metric"])
    found = []
    for readout in study.readouts(functions, "r2_max" if "r2_max" in measured else None):
        cells = [study.cell(readout, environment, study.lengths[-1]) for environment in study.untold(target)]
        if values := [float(cell["mean"]) for cell in cells if cell is not None]:
            found.append((max(values), names.probe_name(readout.probe)))
    read = names.join([f"{number(value)} ({probe})" for value, probe in sorted(found, reverse=True)])
    return f"Of all functions of it, the one that is read best when it is not told reaches an R² of {read}." if found else ""


def _other_answer(study: Study, target: str) -> str:
    parts = []
    measured = study.own.loc[study.own["target"] == target, "metric"]
    bases = ("equalized_odds_difference", "demographic_parity_difference")
    fairness = [metric for base in bases for metric in names.versions_of(base, measured)]
    for metric in (study.metric(target), *fairness[:1]):
        readout = study.readout(target, metric)
        ends, starts = (
            [
                (names.environment_name(name), cell)
                for name in study.environments
                if (cell := study.cell(readout, name, length)) is not None
            ]
            for length in (study.lengths[-1], study.lengths[0])
        )
        values, begins = ([f"{_bounds(cell)} {told}" for told, cell in cells] for cells in (ends, starts))
        if len({float(cell["mean"]) for _, cell in starts}) == 1:  # where nothing is told, environments do not differ
            begins = [_bounds(starts[0][1])]
        if values and begins:
            better = f", where {names.direction(metric)}," if names.direction(metric) else ""
            parts.append(
                f"{names.metric_name(metric)}{better} {names.join(begins)} without context, {names.join(values)} at c = {study.lengths[-1]}"
            )
    return f"**{names.target_name(target)}** – {'; '.join(parts)}." if parts else ""


def cautions(study: Study) -> list[str]:
    """What a reader must know before believing the numbers; one sentence each."""
    found = []
    if study.num_seeds < 2:
        found.append("One training seed only: how much another training run would differ is unknown.")
    if study.num_draws < 2 and study.environments:
        found.append("One context draw only: how much another context would differ is unknown.")
    if study.split != "test":
        found.append(f"There are no test rows: all numbers are from the {study.split} split.")
    for target in study.headline_targets:
        if study.group_of(target) and len(study.lengths) > 1:
            readout = study.readout(target)
            found += _never_encoded(study, readout) + _no_effect(study, readout) + _alike(study, readout)
            found += _shrunk_only(study, readout) + _drift(study, readout)
    return found


def _never_encoded(study: Study, readout: Readout) -> list[str]:
    floor, start = study.floor(readout), study.cell(readout, study.environments[0], study.lengths[0])
    if floor is None or start is None or start["mean"] - floor > 0.1:
        return []
    return [
        f"{names.target_name(readout.target)} is hardly readable even without context ({number(start['mean'])}, floor {number(floor)}): "
        "invariance to what was never encoded cannot be seen."
    ]


def _effect(study: Study, readout: Readout, environment: str) -> float | None:
    """How much telling the group changes its read-out at the longest context, against not telling it."""
    told = study.cell(readout, environment, study.lengths[-1])
    others = [study.cell(readout, name, study.lengths[-1]) for name in study.untold(readout.target)]
    values = [float(cell["mean"]) for cell in others if cell is not None]
    return None if told is None or not values else float(told["mean"]) - min(values)


def _no_effect(study: Study, readout: Readout) -> list[str]:
    effects = [effect for name in study.told(readout.target)[:1] if (effect := _effect(study, readout, name)) is not None]
    if not effects or abs(effects[0]) >= _NOTICEABLE:
        return []
    return [
        f"Telling {study.group_of(readout.target)} changes nothing that the {names.probe_name(readout.probe)} probe reads: "
        f"the context has no effect on {names.target_name(readout.target)}."
    ]


def _alike(study: Study, readout: Readout) -> list[str]:
    """Controls with wrong actions that keep most of the effect of the true ones."""
    found = []
    for environment in study.told(readout.target)[:1]:
        effect = _effect(study, readout, environment)
        true = study.cell(readout, environment, study.lengths[-1])
        if effect is None or true is None or abs(effect) < _NOTICEABLE:
            continue
        for control in ("shuffled", "noise"):
            cell = study.cell(readout, environment, study.lengths[-1], control)
            if cell is not None and (effect - (true["mean"] - cell["mean"])) / effect > _ACTS_ALIKE:
                found.append((control, number(cell["mean"]), number(true["mean"])))
    if not found:
        return []
    said = names.join([f"{control} ({value})" for control, value, _ in found])
    return [
        f"On {names.target_name(readout.target)}, {said} actions act like true ones ({found[0][2]}): "
        "the model reads the presence of actions, not their values."
    ]


def _shrunk_only(study: Study, readout: Readout) -> list[str]:
    """The raw probe lost the group, another one did not: the group is at a smaller scale, not gone."""
    for environment in study.untold(readout.target):
        first, last = (study.cell(readout, environment, length) for length in (study.lengths[0], study.lengths[-1]))
        if first is None or last is None or _direction(study, readout, environment) >= 0:
            continue
        lost = float(first["mean"] - last["mean"])
        kept = []
        for other in study.readouts(readout.target, readout.metric):
            cell = study.cell(other, environment, study.lengths[-1])
            if cell is not None and cell["mean"] - last["mean"] > lost / 2:
                kept.append(f"{names.probe_name(other.probe)} {number(cell['mean'])}")
        if kept:
            return [
                f"{names.environment_name(environment).capitalize()}, {names.target_name(readout.target)} falls to {number(last['mean'])} for the "
                f"{names.probe_name(readout.probe)} probe, yet others read more: {names.join(kept)}."
            ]
    return []


def _drift(study: Study, readout: Readout) -> list[str]:
    """The untold group comes back at long contexts."""
    found = []
    for environment in study.untold(readout.target):
        cells = study.curve(readout, environment)
        if len(cells) > 2 and (back := float(cells["mean"].iloc[-1] - cells["mean"].min())) > 0.1:
            lowest = int(cells["context_length"].iloc[int(cells["mean"].argmin())])
            found.append(
                f"{names.environment_name(environment).capitalize()}, {names.target_name(readout.target)} comes back at long contexts: "
                f"{number(back)} more at c = {study.lengths[-1]} than at c = {lowest}."
            )
    return found


def _bounds(cell: pd.Series) -> str:
    return with_bounds(cell["mean"], *(None if pd.isna(cell[name]) else float(cell[name]) for name in ("low", "high")))


def _count(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
