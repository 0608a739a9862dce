"""The bank: nothing is encoded twice, and every cell holds what the slow way gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from contextssl.adapter import DomainAdapter, Split
from contextssl.evaluation.cells import CellFilter
from contextssl.evaluation.embeddings import EMPTY, FEATURES, Cell, EmbeddingBank
from contextssl.evaluation.probe import LinearProbe, NearestNeighbours
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.evaluation.retrieval import RetrievalProtocol
from contextssl.method import Method

MakeBank = Callable[..., EmbeddingBank]
ALL_ROWS = 220


def ask_everything(bank: EmbeddingBank) -> None:
    for cell in bank.cells:
        for split in Split:
            bank.embeddings(cell, split)


@pytest.mark.parametrize(
    "settings",
    [{}, {"context_lengths": (0, 2, 4, 6)}, {"controls": ()}, {"control_lengths": (2, 4, 6)}, {"memory": 1}],
    ids=["plain", "more lengths", "no controls", "more controls", "no memory"],
)
def test_every_item_is_encoded_once_whatever_is_asked(make_bank: MakeBank, settings: dict[str, object]) -> None:
    bank = make_bank(**settings)
    ask_everything(bank)
    ask_everything(bank)
    assert bank.method.encoder.count == ALL_ROWS + 2 * 6  # every row, and the six items of two contexts


def test_a_further_draw_encodes_its_context_only(make_bank: MakeBank) -> None:
    bank = make_bank(context_draws=5)
    ask_everything(bank)
    assert bank.method.encoder.count == ALL_ROWS + 5 * 6


def test_probes_and_new_cells_encode_nothing(make_bank: MakeBank) -> None:
    bank = make_bank()
    ask_everything(bank)
    before = bank.method.encoder.count
    list(ReadoutProtocol(probes=(LinearProbe(), LinearProbe(standardised=True), NearestNeighbours(k=3)))(bank))
    bank.embeddings(Cell("turn+side", "noise", 4, 0), Split.TEST)
    bank.embeddings(Cell("turn", "true", 6, 1), Split.TEST, bits=4)
    assert bank.method.encoder.count == before


@pytest.mark.parametrize("split", Split)
def test_true_cells_equal_conditioning_on_the_items_themselves(make_bank: MakeBank, split: Split) -> None:
    bank = make_bank()
    bank.method.eval()
    for cell in bank.cells:
        if cell.control != "true":
            continue
        features = bank.context(cell.draw)
        items = features.with_items(features.state / 2, features.next_state / 2).first(cell.length // 2)
        conditioned = bank.method.condition(items, bank.adapter.actions.environment(cell.environment))
        expected = conditioned.embed(bank.labelled(split).inputs)
        torch.testing.assert_close(bank.embeddings(cell, split), expected)


def test_contexts_depend_on_seed_and_draw_alone(make_bank: MakeBank) -> None:
    contexts = [make_bank(seed=seed).context(draw).action for seed, draw in ((0, 0), (0, 1), (1, 0))]
    again = make_bank(seed=0, context_lengths=(6,), controls=()).context(1).action
    torch.testing.assert_close(contexts[1], again)
    assert all(not torch.equal(contexts[a], contexts[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def evidence(bank: EmbeddingBank, cell: Cell) -> Tensor:
    """What the toy method read from the context: the last numbers of any embedding."""
    return bank.embeddings(cell, Split.TEST)[0, 4:]


def test_controls_change_values_but_not_which_coordinates_are_filled(make_bank: MakeBank) -> None:
    bank = make_bank()
    true = evidence(bank, Cell("turn", "true", 6, 0))
    for control in ("shuffled", "noise"):
        changed = evidence(bank, Cell("turn", control, 6, 0))
        assert not torch.isclose(changed[:2], true[:2]).any()
        assert (changed[2:] == 0).all()


def test_a_shuffled_short_context_holds_its_own_actions_only(make_bank: MakeBank) -> None:
    bank = make_bank(context_lengths=(2, 20))
    torch.testing.assert_close(evidence(bank, Cell("turn", "shuffled", 2, 0)), evidence(bank, Cell("turn", "true", 2, 0)))


def test_the_wrong_group_is_the_other_groups_true_context(make_bank: MakeBank) -> None:
    bank = make_bank()
    for told, other in (("turn", "side"), ("side", "turn")):
        wrong = evidence(bank, Cell(told, "wrong-group", 6, 1))
        torch.testing.assert_close(wrong, evidence(bank, Cell(other, "true", 6, 1)))


def test_cells_hold_one_empty_context_and_no_pointless_control(make_bank: MakeBank) -> None:
    cells = make_bank().cells
    assert cells[:2] == (FEATURES, EMPTY)
    assert len(set(cells)) == len(cells)
    assert {cell.control for cell in cells if cell.environment == "none"} == {"true"}
    assert {cell.length for cell in cells if cell.control in ("shuffled", "noise", "wrong-group")} == {6}
    assert sum(cell.environment == "turn" for cell in cells) == 2 * (2 + 3)
    assert all(cell.control != "wrong-group" for cell in make_bank(groups=("side",)).cells)


def test_a_bank_over_other_rows_shares_settings_and_nothing_that_was_computed(make_bank: MakeBank) -> None:
    bank, cell = make_bank(context_draws=1, environments=("turn",), training_seed=4), Cell("turn", "true", 6, 0)
    mine, rows = bank.embeddings(cell, Split.TEST), bank.labelled(Split.TEST)

    def negated() -> DomainAdapter:
        adapter = make_bank().adapter
        adapter.labelled = lambda split: replace(rows, inputs=-rows.inputs)  # type: ignore[method-assign]
        return adapter

    other, fresh = bank.over(negated()), make_bank(context_draws=1, environments=("turn",))
    fresh.adapter = negated()
    torch.testing.assert_close(other.embeddings(cell, Split.TEST), fresh.embeddings(cell, Split.TEST))
    assert other.cells == bank.cells and other.training_seed == 4
    assert bank.labelled(Split.TEST) is rows and torch.equal(bank.embeddings(cell, Split.TEST), mine)
    assert not torch.equal(mine, other.embeddings(cell, Split.TEST))


def test_environments_are_named(make_bank: MakeBank) -> None:
    named = make_bank(environments=("turn+side", "none"))
    actions = named.adapter.actions
    assert named.environments == (actions.environment("all"), actions.environment("none"))
    assert named.cells == make_bank(environments=named.environments).cells


def test_an_empty_context_tells_nothing(make_bank: MakeBank) -> None:
    assert (evidence(make_bank(), EMPTY) == 0).all()


def test_a_query_after_no_context_is_told_what_its_cell_says(make_bank: MakeBank) -> None:
    bank = make_bank()
    told = {name: bank.conditioned(Cell(name, "true", 0, 0)).environment.groups for name in ("turn", "side", "none")}
    assert told == {"turn": ("turn",), "side": ("side",), "none": ()}
    assert bank.conditioned(EMPTY).environment.groups == ("turn", "side")
    assert bank.conditioned(Cell("turn", "wrong-group", 0, 0)).environment.groups == ("side",)
    torch.testing.assert_close(bank.embeddings(Cell("side", "true", 0, 0), Split.TEST), bank.embeddings(EMPTY, Split.TEST))


def test_the_method_is_evaluated_in_eval_mode_and_left_as_it_was(make_bank: MakeBank) -> None:
    bank = make_bank()
    bank.method.train()
    torch.testing.assert_close(bank.features(Split.TEST), 2 * bank.labelled(Split.TEST).inputs)
    ask_everything(bank)
    assert bank.method.training and bank.method.encoder.training


def test_little_memory_gives_the_same_embeddings(make_bank: MakeBank) -> None:
    generous, frugal = make_bank(), make_bank(memory=1)
    for cell in (*generous.cells, *generous.cells[::-1]):
        torch.testing.assert_close(generous.embeddings(cell, Split.TEST), frugal.embeddings(cell, Split.TEST), rtol=0, atol=0)


def test_embeddings_can_be_trained_on(make_bank: MakeBank) -> None:
    weight = torch.ones(8, requires_grad=True)
    (make_bank().embeddings(EMPTY, Split.TRAIN) @ weight).sum().backward()
    assert weight.grad is not None


def test_quantised_embeddings_take_their_scale_from_training_rows(make_bank: MakeBank) -> None:
    bank = make_bank()
    cell = Cell("turn", "true", 6, 0)
    step = float(bank.embeddings(cell, Split.TRAIN).abs().max()) / 7
    expected = (bank.embeddings(cell, Split.TEST) / step).round() * step
    torch.testing.assert_close(bank.embeddings(cell, Split.TEST, bits=4), expected)
    with pytest.raises(ValueError, match="only embeddings can be quantised"):
        bank.embeddings(FEATURES, Split.TEST, bits=4)


class PlainMethod(Method):
    """A method without context."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def loss_terms(self, batch: object, generator: torch.Generator) -> dict[str, Tensor]:
        raise AssertionError("an evaluation never trains")


def test_a_context_free_method_has_features_and_nothing_else(make_bank: MakeBank) -> None:
    adapter = make_bank().adapter
    bank = EmbeddingBank(PlainMethod(adapter.build_encoder()), adapter)
    assert bank.cells == (FEATURES,)
    assert CellFilter(lengths=(126,))(bank) == () and list(RetrievalProtocol()(bank)) == []
    torch.testing.assert_close(bank.embeddings(FEATURES, Split.TEST), 2 * bank.labelled(Split.TEST).inputs)
    with pytest.raises(ValueError, match="reads no context"):
        bank.embeddings(EMPTY, Split.TEST)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context_lengths": (0, 3)}, r"even and >= 0; found \[3\]"),
        ({"context_lengths": (-2,)}, "even"),
        ({"control_lengths": (5,)}, "even"),
        ({"context_draws": 0}, "one draw"),
        ({"context_lengths": ()}, "at least one context length"),
        ({"controls": ("scrambled",)}, "scrambled"),
        ({"environments": ("spin",)}, "spin"),
    ],
)
def test_bad_settings_are_one_clear_sentence(make_bank: MakeBank, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_bank(**settings)


def test_features_that_are_not_numbers_are_refused(make_bank: MakeBank) -> None:
    bank = make_bank()
    bank.method.encoder.scale.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="features of the test split: 60 of 60 rows are not finite"):
        bank.features(Split.TEST)


def test_cells_that_cannot_be_are_refused(make_bank: MakeBank) -> None:
    with pytest.raises(ValueError, match="beyond this bank's longest, 6"):
        make_bank().embeddings(Cell("turn", "true", 8, 0), Split.TEST)
    with pytest.raises(ValueError, match="no other group"):
        make_bank(groups=("side",)).embeddings(Cell("side", "wrong-group", 6, 0), Split.TEST)
    with pytest.raises(ValueError, match="unknown group 'hue'"):
        make_bank().embeddings(Cell("hue", "true", 6, 0), Split.TEST)
