"""The ready-made rules: which label each gives, on the classes they were written for, and what a wrong setting says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from contextssl.adapter import Split
from contextssl.commands.configuration import build, compose_config
from contextssl.testing import ToyAdapter
from domains.supervised.label_shift import LabelShift

GENERATED = ("domain.adapter.source=generated", "+domain.adapter.num_generated=[1500,600]")


def pictures(option: str) -> LabelShift:
    """The rules of a domain of pictures, on four classes that need no files."""
    config = compose_config([f"domain={option}"]).domain
    settings = {name: config[name] for name in ("num_labels", "disjoint") if name in config}
    rules, unseen = (instantiate(config.get(name), _convert_="object") for name in ("rules", "unseen"))
    return LabelShift(ToyAdapter(), "class", rules, unseen, **settings)


def adult(option: str) -> LabelShift:
    made: LabelShift = build(compose_config([f"domain={option}", *GENERATED]).domain)
    return made


def by_rule(domain: LabelShift) -> dict[str, tuple[int, ...]]:
    return {rule.name: rule.labels for rule in domain.actions.rules}


def test_the_paper_s_rule_needs_a_head_for_the_largest_label() -> None:
    assert by_rule(pictures("supervised_iebench_easy")) == {"rotation": (10, 11, 12, 13), "color": (0, 1, 2, 3)}
    assert pictures("supervised_iebench").actions.num_labels == 55 + 10


def test_coarse_and_fine_labels_share_none() -> None:
    domain = pictures("supervised_iebench_coarse")
    assert by_rule(domain) == {"rotation": (4, 4, 5, 5), "color": (0, 1, 2, 3)} and domain.actions.num_labels == 6
    data, own = domain.labelled(Split.TEST), ToyAdapter().labelled(Split.TEST).target("class").values
    assert torch.equal(data.target("label_rotation").values, 4 + own // 2)


def test_no_permutation_that_is_trained_on_is_held_out() -> None:
    rules = pictures("supervised_iebench_permutations").actions.rules
    orders = {unseen: {rule.labels for rule in rules if rule.unseen is unseen} for unseen in (False, True)}
    assert len(orders[False]) == 20 and len(orders[True]) == 4 and not orders[False] & orders[True]


def test_income_and_its_complement_by_two_attributes() -> None:
    data = adult("supervised_adult").labelled(Split.TEST)
    assert torch.equal(data.target("label_sex").values, data.target("income").values)
    assert torch.equal(data.target("label_race").values, 1 - data.target("income").values)


def test_another_target_in_another_context() -> None:
    domain = adult("supervised_adult_targets")
    data = domain.labelled(Split.TEST)
    assert torch.equal(data.target("label_sex").values, data.target("income").values)
    assert torch.equal(data.target("label_race").values, data.target("sex").values)
    assert not torch.equal(data.target("sex").values, data.target("income").values)
    assert domain.actions.num_labels == 2 and domain.actions.targets == ("income", "sex")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["domain.num_labels=1"],
            "rule 'sex' gives class 1 of 'income' the label 1, outside a head of 1 labels; set num_labels to at",
        ),
        (["domain.disjoint=true"], r"rules 'sex' and 'race' share the labels \[0, 1\], though disjoint is set"),
        (["domain.rules.race.target=age"], "unknown target 'age'"),
        (["domain.rules.race._target_=domains.supervised.rules.Offset"], "Offset.*by"),
    ],
)
def test_a_wrong_setting_is_one_sentence(words: list[str], message: str) -> None:
    config: Any = compose_config(["domain=supervised_adult", *GENERATED, *[f"++{word}" for word in words]])
    with pytest.raises(ValueError, match=message) as found:
        build(config.domain)
    assert "\n" not in str(found.value)
