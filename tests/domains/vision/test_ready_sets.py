"""Ready-made sets: made once, reused without a renderer, found by their domain, and named when they are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("embreex", reason="embreex is not installed: pip install contextssl[render]")
from contextssl.adapter import Split  # noqa: E402
from contextssl.commands.configuration import build, compose_config  # noqa: E402
from contextssl.commands.data import act  # noqa: E402
from domains.vision.procedural import folder, ready_sets  # noqa: E402
from domains.vision.procedural.packages import MissingPackageError  # noqa: E402
from domains.vision.three_d_ie_bench import ThreeDIEBench  # noqa: E402

TINY = ["objects=5", "categories=2", "views=2", "size=16", "processes=1"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user cache of its own."""
    monkeypatch.setenv("CONTEXTSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CONTEXTSSL_DATA", raising=False)
    return tmp_path / "cache"


def no_renderer() -> None:
    raise MissingPackageError("rendering needs the package embreex: pip install contextssl[render]")


@pytest.mark.parametrize(("name", "domain"), [("iebench-easy", "iebench_easy"), ("iebench-hard", "iebench_hard")])
def test_what_is_prepared_is_what_the_domain_of_that_name_reads(cache: Path, name: str, domain: str) -> None:
    said = act("prepare", name, TINY)
    assert "20 pictures of 16 pixels" in said[0] and "16x16 pixels" in " ".join(said)
    adapter = build(compose_config([f"domain={domain}"]).domain)
    assert isinstance(adapter, ThreeDIEBench) and adapter.store.path == cache / name / "packed"
    rows = sum(len(adapter.labelled(split)) for split in Split)
    assert rows == 20 and adapter.labelled(Split.TEST).inputs.shape[1:] == (3, 16, 16)
    assert type(adapter.build_encoder()).__name__ == "SmallConvNet"
    assert "all 20 pictures" in act("verify", name)[0] and "20 views of 10 objects" in act("verify", name)[1]
    assert act("info", name) == said


def test_the_poses_are_those_of_the_configuration(cache: Path) -> None:
    act("prepare", "iebench-easy", [*TINY, "views=20"])
    angles = build(compose_config(["domain=iebench_easy"]).domain).store.latents[:, :3].abs().amax(0) / (3.14159 / 2)
    assert angles[:2].max() <= 0.15 and angles[:2].min() > 0.1 and angles[2] > 0.8


def test_a_second_call_needs_no_renderer_and_writes_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = act("prepare", "iebench-easy", TINY)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    monkeypatch.setattr(folder, "embree", no_renderer)
    assert act("prepare", "iebench-easy", TINY) == ["iebench-easy is there already", *first]
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before
    with pytest.raises(MissingPackageError, match="pip install"):
        act("prepare", "iebench-hard", TINY)
    assert not (cache / "iebench-hard").exists()


def test_an_interrupted_call_goes_on_from_where_it_stopped(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[object] = []
    original = folder.render_object

    def interrupted(*arguments: object) -> None:
        if len(rendered) == 6:
            raise KeyboardInterrupt
        rendered.append(original(*arguments))  # type: ignore[arg-type, func-returns-value]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(folder, "render_object", interrupted)
        act("prepare", "iebench-easy", TINY)
    with pytest.raises(
        FileNotFoundError, match="iebench-easy is unfinished .* make it with: contextssl data prepare iebench-easy$"
    ):
        ready_sets.packed("iebench-easy")
    monkeypatch.setattr(folder, "render_object", lambda *arguments: rendered.append(original(*arguments)))  # type: ignore[func-returns-value]
    act("prepare", "iebench-easy", TINY)
    assert len(rendered) == 10
    assert len(act("verify", "iebench-easy")) == 2


def test_a_set_that_is_rendered_but_not_packed_is_packed_without_rendering_it_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act("prepare", "iebench-easy", TINY)
    for path in (cache / "iebench-easy" / "packed").iterdir():
        path.unlink()
    monkeypatch.setattr(folder, "render_object", None)
    act("prepare", "iebench-easy", TINY)
    assert "20 views" in act("verify", "iebench-easy")[1]


def test_a_lost_picture_and_an_unfinished_set_are_made_again(cache: Path) -> None:
    act("prepare", "iebench-easy", TINY)
    lost, manifest = cache / "iebench-easy" / "airplane" / "0003" / "image_1.jpg", cache / "iebench-easy" / "manifest.json"
    content = lost.read_bytes()
    lost.unlink()
    assert "already" not in act("prepare", "iebench-easy", TINY)[0]
    assert lost.read_bytes() == content
    manifest.write_text(manifest.read_text().replace('"complete": true', '"complete": false'))
    assert "already" not in act("prepare", "iebench-easy", TINY)[0]
    assert "already" in act("prepare", "iebench-easy", TINY)[0]


def test_other_settings_are_another_set(cache: Path) -> None:
    act("prepare", "iebench-easy", TINY)
    with pytest.raises(ValueError, match="iebench-easy"):
        act("prepare", "iebench-easy", [*TINY, "seed=1"])
    elsewhere = [*TINY, "seed=1", f"root={cache / 'other'}"]
    act("prepare", "iebench-easy", elsewhere)
    config = compose_config(["domain=iebench_easy", f"domain.root.root={cache / 'other'}"])
    assert build(config.domain).store.path == cache / "other" / "packed"
    config = compose_config(["domain=iebench_easy", f"domain.root={cache / 'iebench-easy' / 'packed'}"])
    assert build(config.domain).store.path == cache / "iebench-easy" / "packed"


def test_a_missing_set_is_one_sentence_with_the_command_that_makes_it(cache: Path) -> None:
    for ask in (lambda: build(compose_config(["domain=iebench_hard"]).domain), lambda: act("info", "iebench-hard")):
        with pytest.raises(FileNotFoundError) as caught:
            ask()
        assert str(caught.value) == (
            f"iebench-hard is not there ({cache / 'iebench-hard'}); make it with: contextssl data prepare iebench-hard"
        )
    with pytest.raises(FileNotFoundError, match=r"contextssl data prepare iebench-hard root=.*x$"):
        act("verify", "iebench-hard", [f"root={cache / 'x'}"])
