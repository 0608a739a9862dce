"""The speed benchmark: turns, parity before timing, ratios of what was measured, and where the numbers go."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import speed

    yield speed
    for name in [name for name in sys.modules if name.partition(".")[0] in ("speed", "speed_parts", "peers", "runs")]:
        sys.modules.pop(name)


@pytest.fixture
def once(speed: ModuleType) -> Any:
    return speed.Effort(1, 1, 0.0)


@pytest.fixture
def turns(speed: ModuleType) -> ModuleType:
    return sys.modules["speed_parts.turns"]


class Pixels(nn.Module):
    """An encoder of images of any side that takes no time."""

    out_dim = 12

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(12))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * nn.functional.adaptive_avg_pool2d(x.float(), 2).flatten(1)


def test_everyone_takes_a_turn_in_every_round_and_the_first_round_does_not_count(turns: ModuleType) -> None:
    called: list[str] = []

    def contestant(name: str) -> Callable[[], float]:
        return lambda: called.append(name) or float(len(called))

    found = turns.in_turns({"a": contestant("a"), "b": contestant("b")}, turns.Effort(2, 3, 1000.0))
    assert "".join(called) == "ab" * 4
    assert found == {"a": [3.0, 5.0, 7.0], "b": [4.0, 6.0, 8.0]}


def test_rounds_end_with_the_time_but_not_before_the_least(turns: ModuleType) -> None:
    for least, most in ((3, 9), (0, 9), (2, 2)):
        found = turns.in_turns({"a": lambda: 1.0}, turns.Effort(least, most, 0.0), warm_up=False)
        assert len(found["a"]) == least
    found = turns.in_turns({"a": lambda: 1.0}, turns.Effort(1, 5, 1000.0), warm_up=False)
    assert len(found["a"]) == 5


def test_numbers_are_medians_and_ratios_of_medians(turns: ModuleType) -> None:
    assert turns.summary([0.003, 0.001, 0.1]) == {"ms": 3.0, "fastest_ms": 1.0, "slowest_ms": 100.0, "rounds": 3}
    assert turns.ratio([9.0, 3.0, 3.0], [1.0, 2.0, 100.0]) == 1.5


def slow_nt_xent(x: Tensor, y: Tensor, temperature: float = 0.1) -> float:
    """The formula of lightly's and solo-learn's documentation, number by number."""
    rows = [row / row.norm() for row in (*x.double(), *y.double())]
    total = 0.0
    for i, row in enumerate(rows):
        scores = [float(row @ other) / temperature for other in rows]
        others = [score for j, score in enumerate(scores) if j != i]
        partner = (i + len(x)) % len(rows)
        total -= scores[partner] - float(torch.tensor(others, dtype=torch.float64).logsumexp(0))
    return total / len(rows)


def test_our_loss_is_the_peers_formula_on_the_same_numbers(speed: ModuleType) -> None:
    from peers.contestant import Settings, planted_embeddings, simclr
    from peers.our_steps import whole_step

    expected = slow_nt_xent(*planted_embeddings())
    settings = Settings(images=8, side=8, channels_last=False, projector_dims=(6, 4))
    object.__setattr__(settings, "encoder", Pixels)
    ours = whole_step(settings, ["method=simclr", "method.projector_dims=[6,4]"], num_transitions=2)
    peer = simclr(settings, nn.Linear(12, 4), lambda x, y: torch.tensor(slow_nt_xent(x, y)).requires_grad_(), ())
    assert ours.loss == pytest.approx(expected, rel=1e-6) and peer.loss == pytest.approx(expected, rel=1e-6)
    speed.steps.check_losses({"contextssl": ours.loss, "peer": peer.loss})
    with pytest.raises(ValueError, match="'other': 1.2.*not the same"):
        speed.steps.check_losses({"contextssl": ours.loss, "other": 1.2})


@pytest.mark.parametrize("overrides", [["method=simclr", "method.projector_dims=[6,4]"], ["method=context_ssl/default"]])
def test_our_step_is_a_training_step_of_all_images(speed: ModuleType, overrides: list[str]) -> None:
    from peers.contestant import Settings
    from peers.our_steps import whole_step

    settings = Settings(images=16, side=8, channels_last=False, projector_dims=(6, 4))
    encoder, seen = Pixels(), []
    encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    object.__setattr__(settings, "encoder", lambda: encoder)
    whole_step(settings, overrides, num_transitions=4).step()
    assert sum(seen) == 16 and not torch.equal(encoder.scale, torch.ones(12))


def test_cached_and_uncached_agree_before_they_are_timed(speed: ModuleType, once: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = speed.queries
    monkeypatch.setattr(queries, "memory_of", lambda *_, **__: 5.0)
    sizes = speed.quick("cpu", 1, False).queries
    found = queries.queries(sizes, once)
    assert [(row["method"], row["context_length"]) for row in found["rows"]] == [
        (name, length) for name in ("default", "reference") for length in sizes.lengths
    ]
    for row in found["rows"]:
        rate = row["cached_queries_per_second"] / row["uncached_queries_per_second"]
        assert row["cached_over_uncached"] == pytest.approx(rate, abs=0.06) and row["cached"]["rounds"] == 1
        assert row["cached_queries_per_second"] == pytest.approx(64e3 / row["cached"]["ms"], rel=0.01)
    assert found["memory_mb"]["default"] == {"cached": 5.0, "uncached": 5.0}


@pytest.mark.parametrize("name", ["default", "reference"])
def test_a_cache_that_forgets_a_pair_is_noticed(speed: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = speed.quick("cpu", 1, False).queries
    case = speed.queries.Case(sizes.methods[name], "cpu")
    case.check(14)
    condition = type(case.method).condition_features
    monkeypatch.setattr(
        type(case.method), "condition_features", lambda *arguments: condition(*arguments).shortened(arguments[1].length * 2 - 2)
    )
    with pytest.raises(AssertionError):
        case.check(14)


def test_the_memory_of_a_context_is_what_it_adds(speed: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, asked = speed.queries, []

    def memory_of(build: Callable[..., Callable[[], Tensor]], *arguments: Any, device: str, threads: int) -> float:
        asked.append(arguments[2:])
        assert build(*arguments)().shape == (arguments[2], 512 if "reference" in arguments[0].overrides[0] else 64)
        return 10.0 + arguments[2] + (3.25 if arguments[3] else 0.0)

    monkeypatch.setattr(queries, "memory_of", memory_of)
    found = queries.context_memory(speed.quick("cpu", 1, False).queries)
    assert asked == [(1, 14), (1, 0), (16, 14), (16, 0)]
    assert [row["context_mb"] for row in found["rows"]] == [3.25, 3.25]
    kept = 3 * 2 * 14 * 64 * 4 / 2**20  # layers, keys and values, tokens, width, bytes
    assert found["keys_and_values_mb"] == pytest.approx(kept, abs=0.005)
    assert found["rows"][1]["copies_would_take_mb"] == pytest.approx(16 * kept, abs=0.05)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_memory_is_the_growth_of_one_call(speed: ModuleType) -> None:
    from peers.contestant import megabytes

    held = torch.ones(5 * 2**20)  # 20 MB that were there before
    assert megabytes(lambda: torch.ones(16 * 2**20).sum(), "cpu") == pytest.approx(64, abs=12)
    assert len(held) == 5 * 2**20


def test_both_evaluations_embed_alike_and_images_are_counted(
    speed: ModuleType, once: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = speed.evaluation
    monkeypatch.setattr(evaluation.Settings, "encoder", lambda _: Pixels())
    found = evaluation.evaluation(evaluation.Sizes(objects=20, views=4, side=4, hidden_dims=(8,)), once)
    assert found["ours"]["images_encoded"] == 20 * 4 + 126
    assert found["one_epoch_in_one_environment"]["images_encoded"] == 14 * 4
    everything, released = found["all_images_in_every_epoch"], found["one_pair_of_each_object_in_every_epoch"]
    assert everything["images_encoded"] == 3 * 200 * 14 * 4 and released["images_encoded"] == 3 * 200 * 14 * 2
    slow = 600 * found["one_epoch_in_one_environment"]["ms"] / 1e3
    assert everything["seconds"] == pytest.approx(slow, abs=0.4) and released["seconds"] == pytest.approx(slow / 2, abs=0.4)
    assert everything["over_ours"] == pytest.approx(slow * 1e3 / found["ours"]["ms"], rel=0.05)


def test_a_loop_that_embeds_otherwise_is_noticed(speed: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = speed.evaluation
    monkeypatch.setattr(evaluation.Settings, "encoder", lambda _: Pixels())
    sizes = evaluation.Sizes(objects=20, views=4, side=4, hidden_dims=(8,))
    adapter = evaluation.noise(sizes)
    method = evaluation.method_of(adapter.build_encoder(), ["method=context_ssl/default"]).eval()
    loop = evaluation.ReEncodingLoop(method, adapter, sizes)
    loop.check()
    before = [parameter.clone() for parameter in loop.probes.parameters()]
    loop.epoch()
    moved = [not torch.equal(old, new) for old, new in zip(before, loop.probes.parameters(), strict=True)]
    assert all(moved) and len(loop.probes) == 5
    loop.images = loop.images.flip(0)
    with pytest.raises(AssertionError):
        loop.check()


def test_transforms_are_compared_and_the_ratio_is_to_torchvision_s_faster_way(speed: ModuleType, once: Any) -> None:
    (row,) = speed.transforms.transforms(speed.transforms.Sizes((16,), 4, 2), once)["rows"]
    rate = row["images_per_second"]
    faster = max(rate["torchvision_floats"], rate["torchvision_bytes"])
    assert row["over_torchvision"] == pytest.approx(rate["batched"] / faster, rel=0.02, abs=0.01)
    for name, (num_images, function) in speed.transforms.contestants(12, speed.transforms.Sizes((12,), 4, 2)).items():
        views = function()
        assert views.shape == (num_images, 3, 12, 12) and views.dtype is torch.float32, name
        assert views.min() > -0.3 and views.max() < 1.3 and views.std() > 0.02, name  # torchvision leaves overshoots


@pytest.mark.parametrize("part", ["RandomResizedCrop", "GaussianBlur"])
def test_a_transform_that_does_something_else_is_noticed(speed: ModuleType, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(speed.transforms, part)

    def off_by_a_pixel(*arguments: Any) -> Callable[..., tuple[Tensor, Tensor]]:
        transform = right(*arguments)
        return lambda images, draws: (lambda views, drawn: (views.roll(1, -1), drawn))(*transform(images, draws))

    speed.transforms.check(16, "cpu")
    monkeypatch.setattr(speed.transforms, part, off_by_a_pixel)
    with pytest.raises(AssertionError):
        speed.transforms.check(16, "cpu")


TIMES = {"encoder": 1.0, "context_ssl": 1.08, "simclr": 1.02, "reference": 3.0, "reference_transformer": 1.9, "contextssl": 1.0,
         "lightly": 1.25, "solo-learn": 1.2, "lightly, freed memory kept": 0.8, "solo-learn, freed memory kept": 0.9}  # fmt: skip


@pytest.fixture
def told(speed: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What contestants are asked, which answer without a process."""
    asked: list[dict[str, Any]] = []

    def raced(contestants: dict[str, Any], effort: Any, scripts: Any = None) -> Any:
        asked.append(contestants)
        seconds = {name: [TIMES.get(name, 0.5)] * 3 for name in contestants}
        row = {"loss": 2.0, "versions": {"torch": "2", "lightly": "1"}, "memory_mb": 7.0}
        return seconds, {name: row | speed.steps.summary(times) for name, times in seconds.items()}

    monkeypatch.setattr(speed.steps, "raced", raced)
    return asked


def test_steps_are_held_against_the_bare_encoder(speed: ModuleType, once: Any, told: list[dict[str, Any]]) -> None:
    found = speed.steps.steps(speed.full("cpu", 2, False).steps, once)
    assert found["over_encoder"] == {"context_ssl": 1.08, "simclr": 1.02}
    assert found["reference_transformer_share"] == pytest.approx(1.9 / 3, abs=1e-4)
    assert found["reference_without_transformer_over_encoder"] == pytest.approx(1.1)
    assert found["images_per_second"]["reference"] == pytest.approx(512 / 3, abs=0.1)
    assert found["hours_for_the_paper"]["reference"] == pytest.approx(83.8e6 / (512 / 3) / 3600, abs=0.01)
    everyone = {name: settings for contestants in told for name, settings in contestants.items()}
    assert {settings.images for settings in everyone.values()} == {512} and {s.side for s in everyone.values()} == {64}
    assert everyone["context_ssl"].own["overrides"] == ["method=context_ssl/default"]


def test_peers_get_the_same_settings_and_what_could_not_be_installed_is_told(
    speed: ModuleType, once: Any, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = sys.modules["speed_parts.environments"].Environment
    found_by = {"lightly": environment(tmp_path, "with its dependencies"), "solo-learn": environment(None, "not at all", "why")}
    monkeypatch.setattr(speed.steps, "environment_of", lambda peer, _: found_by[peer.name])
    found = speed.steps.peers(speed.full("cpu", 2, False).steps, once, tmp_path)
    (contestants,) = told
    assert set(contestants) == {"contextssl", "lightly", "lightly, freed memory kept"}
    assert found["over_fastest_peer"] == 0.8 and found["over_fastest_peer_keeping_memory"] == 1.25
    assert [settings.keep_freed_memory for settings in contestants.values()] == [True, False, True]
    same = [
        {name: value for name, value in vars(settings).items() if name not in ("own", "keep_freed_memory")}
        for settings in contestants.values()
    ]
    assert same[0] == same[1] == same[2] and contestants["contextssl"].own["overrides"][1] == "method.projector_dims=[2048,128]"
    assert found["environments"]["solo-learn"] == {"installed": "not at all", "error": "why"}
    assert str(tmp_path) not in json.dumps(found)


def test_one_thing_grows_at_a_time(speed: ModuleType, once: Any, told: list[dict[str, Any]]) -> None:
    found = speed.steps.scaling(speed.full("cpu", 2, False).steps, once)
    lengths, widths, batches = told
    assert {settings.images for settings in (*lengths.values(), *widths.values())} == {256}
    assert [2 * settings.own["num_transitions"] for settings in lengths.values()] == [16, 64, 128]
    assert [settings.own["overrides"][-1] for settings in widths.values()] == [
        f"method.transformer.width={width}" for width in (128, 512, 2048)
    ]
    assert [settings.images for settings in batches.values()] == [128, 256, 512]
    assert list(found["rows"]["width"]) == ["128", "512", "2048"] and found["rows"]["width"]["512"]["memory_mb"] == 7.0


ECHO = """
import json, sys
settings = json.loads(sys.stdin.readline())
print(json.dumps({"side": settings["side"]}), flush=True)
for line in sys.stdin:
    if line == "flops\\n":
        sys.exit("no flops today")
    print({"go": 0.25, "memory": 12.345}[line.strip()], flush=True)
"""


def test_a_contestant_answers_line_by_line_and_its_last_words_are_reported(turns: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "echo.py"
    script.write_text(ECHO)
    with turns.Process(str(script), turns.Settings(images=4, side=9)) as process:
        assert process.description == {"side": 9}
        assert (process.memory(), process.go(), process.go()) == (12.3, 0.25, 0.25)
        with pytest.raises(RuntimeError, match="no flops today"):
            process.flops()


@pytest.mark.slow
def test_a_real_contestant_trains(turns: ModuleType) -> None:
    settings = turns.Settings(images=8, side=16, own={"what": "encoder"})
    with turns.Process("our_steps.py", settings) as process:
        assert process.memory() > 40  # 11 million gradients
        assert process.go() > 0 and process.flops() > 1e8
        assert process.description["num_parameters"] == 11_176_512


def test_an_environment_is_made_once_and_says_how(speed: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environments, installs = sys.modules["speed_parts.environments"], []

    def install(_: Path, requirements: list[str]) -> str | None:
        installs.append(requirements)
        return "a pin" if requirements[0] in ("pinned==1", "broken==1") or requirements[-1] == "broken==1" else None

    monkeypatch.setattr(environments, "_install", install)
    monkeypatch.setattr(environments, "_make", lambda root, _: root.mkdir())
    expected = {
        "good==1": ("with its dependencies", None),
        "pinned==1": ("without its dependencies", "a pin"),
        "broken==1": ("not at all", "a pin"),
    }
    for _ in range(2):
        for requirement, (installed, error) in expected.items():
            found = environments.environment_of(environments.Peer("peer", "peer.py", requirement, alone=True), tmp_path)
            assert (found.installed, found.error) == (installed, error)
            assert (found.python is None) == (installed == "not at all")
    assert len(installs) == 5 and installs[0][1:] == [f"torch=={torch.__version__.split('+')[0]}", installs[0][2]]


def test_the_reason_is_one_line(speed: ModuleType) -> None:
    reason = sys.modules["speed_parts.environments"].reason
    said = (
        "ERROR: Cannot install a\n\nThe conflict is caused by:\n    solo-learn 1.0.2 depends on torch==1.9.1\nERROR: see help\n"
    )
    assert reason(said) == "solo-learn 1.0.2 depends on torch==1.9.1"
    assert reason("WARNING: slow\nERROR: No matching distribution found for b\n") == "No matching distribution found for b"
    assert reason("") == "pip failed without a word"


@pytest.fixture
def measured(speed: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A checkout whose parts take no time; returns its folder."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/speed.md").write_text("# Speed\n\n<!-- speed:begin -->\nold\n<!-- speed:end -->\nkept\n")
    parts = {part: (lambda part=part: {"part": part}) for part in speed.PARTS}
    monkeypatch.setattr(speed, "measurements", lambda *_: parts)
    monkeypatch.setattr(speed, "table", lambda record: "| " + " ".join(part for part in speed.PARTS if part in record) + " |")
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    monkeypatch.setattr(speed, "PAGE", tmp_path / "docs/speed.md")
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    return tmp_path


def test_only_a_whole_run_becomes_the_record_and_the_page(speed: ModuleType, measured: Path) -> None:
    before = (measured / "docs/speed.md").read_text()
    speed.main(["--quick"])
    speed.main(["--parts", "queries", "peers"])
    assert not (measured / "benchmarks").exists() and (measured / "docs/speed.md").read_text() == before
    speed.main(["--parts", "queries", "--out", str(measured / "some.json")])
    assert json.loads((measured / "some.json").read_text())["queries"] == {"part": "queries"}
    assert (measured / "docs/speed.md").read_text() == before
    speed.main([])
    record = json.loads((measured / "benchmarks/results/speed_cpu.json").read_text())
    assert [part for part in record if part in speed.PARTS] == list(speed.PARTS) == list(record["seconds"])
    assert record["settings"]["images"] == 512 and record["quick"] is False and "own" not in record["settings"]
    page = (measured / "docs/speed.md").read_text()
    assert "old" not in page and "steps peers queries" in page and page.endswith("kept\n")


def test_the_table_shows_the_numbers_of_the_record(
    speed: ModuleType, once: Any, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sizes = speed.full("cpu", 2, False).steps
    environment = SimpleNamespace(python=tmp_path, installed="without its dependencies", error="pinned")
    monkeypatch.setattr(speed.steps, "environment_of", lambda *_: environment)
    encoded = {"seconds": 600.0, "images_encoded": 9, "over_ours": 300.0, "images_over_ours": 4.5}
    record = {
        "environment": {"gpus": [], "processor": "some processor", "packages": {"torch": "2.0"}}, "load_average": 0.5,
        "quick": False, "settings": {"device": "cpu", "threads": 2, "images": 512, "side": 64, "precision": "float32"},
        "steps": speed.steps.steps(sizes, once), "peers": speed.steps.peers(sizes, once, tmp_path),
        "scaling": speed.steps.scaling(sizes, once),
        "queries": {
            "rows": [{"method": "default", "context_length": 126, "cached_queries_per_second": 4321.0,
                      "uncached_queries_per_second": 12.5, "cached_over_uncached": 345.7}],
            "memory_mb": {"default": {"cached": 10.0, "uncached": 90.0}},
        },
        "evaluation": {
            "ours": {"ms": 2000.0, "images_encoded": 77}, "multiplied_by": 600, "all_images_in_every_epoch": encoded,
            "one_pair_of_each_object_in_every_epoch": encoded | {"over_ours": 150.0},
        },
        "transforms": {"rows": [{"side": 96, "over_torchvision": 3.21, "over_torchvision_drawn_order": 2.0,
                                 "images_per_second": {"batched": 900.0, "torchvision_floats": 280.0, "torchvision_bytes": 1.0}}]},
        "context_memory": {"context_length": 126, "width": 2048, "num_layers": 3, "keys_and_values_mb": 5.9,
                           "rows": [{"queries": 4096, "context_mb": 15.5, "copies_would_take_mb": 24000.0}]},
    }  # fmt: skip
    text = sys.modules["speed_parts.table"].table(record)
    for line in (
        "| ContextSSL, preset `default` | 1,080 | 1.08 | ≤ 1.10 | 7 | 3 |",
        "takes 63% of its step; what is left is 1.10 times the encoder",
        "| lightly 1 | 1,250 | 0.80 | 7 |",
        "| lightly 1, freed memory kept | 800 | 1.25 | 7 |",
        "Ours takes 0.83 times the fastest of the others as they are (must reach ≤ 1.00). "
        "Where those keep freed memory as well, it takes 1.25 times the fastest.",
        "solo-learn was installed without its dependencies: `pinned`.",
        "| `default` | 126 | 4,321 | 12.5 | 346 | ≥ 20 |",
        "| re-encoding loop, all images in every epoch | 600 | 9 | 300 | ≥ 100 |",
        "| 96 | 900 | 280 | 3.2 | 2.0 |",
        "| width of the transformer, 256 images, 128 tokens | 2048 | 500 | 7 |",
        "| 4,096 | 15.5 | 24,000 |",
    ):
        assert line in text, line
