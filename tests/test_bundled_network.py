"""The shipped network: folding is exact, tiles do not show, and only honest weights are read."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rsov.errors import ModelError
from rsov.models.backend import channels_last
from rsov.models.bundled.network import BundledNetwork, NetworkShape
from rsov.models.bundled.trunk import TRUNKS, Trunk
from rsov.models.bundled.trunk_weights import PUBLISHED, load_trunk_weights
from rsov.models.bundled.weights import BundledCard, load_bundled, save_bundled, shipped_path

SMALL = NetworkShape(coarse=16, fine=12, dim=32)


def make_network(seed: int = 0, shape: NetworkShape = SMALL) -> BundledNetwork:
    """A network whose normalisations are not the identity."""
    torch.manual_seed(seed)
    network = BundledNetwork(shape)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 255


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    card = BundledCard(
        name="small", version="1", sha256="", gsd=0.4, gsd_range=(0.3, 0.6), licence="CC0",
        dim=32, coarse_channels=16, fine_channels=12, data_sets=("a", "b"),
    )  # fmt: skip
    save_bundled(path, make_network().state_dict(), card)
    return path


def test_folded_scores_are_the_cosine_of_the_explicit_vectors() -> None:
    network = make_network()
    texts = torch.randn(7, 32)
    with torch.no_grad():
        x = picture(64, 96)
        explicit = torch.einsum("kd,bdhw->bkhw", torch.nn.functional.normalize(texts, dim=1), network(x))
        folded = network.fold(texts)(network.features(x))
    assert folded.shape == (1, 7, 16, 24)
    assert torch.allclose(folded, explicit * float(network.scale.detach()), atol=2e-4)


def test_folding_holds_where_the_bias_is_everything() -> None:
    network = make_network()
    with torch.no_grad():
        network.project.bias.fill_(3.0)
        texts = torch.randn(3, 32)
        f = torch.rand(1, 12, 4, 4)
        v = torch.nn.functional.normalize(network.project(f), dim=1)
        explicit = torch.einsum("kd,bdhw->bkhw", torch.nn.functional.normalize(texts, dim=1), v)
        assert torch.allclose(network.fold(texts, scale=1.0)(f), explicit, atol=1e-5)


def test_bf16_scores_stay_near() -> None:
    network = make_network()
    texts = torch.randn(5, 32)
    with torch.no_grad():
        x = picture(64, 64)
        exact = network.fold(texts, scale=1.0)(network.features(x))
        half = network.to(torch.bfloat16)
        near = (
            network.float()
            .fold(texts, scale=1.0)
            .to(torch.bfloat16)(half.to(torch.bfloat16).features(x.bfloat16()))
        )
    assert (exact - near).abs().max() < 0.05


def test_fusing_changes_nothing() -> None:
    network = make_network()
    with torch.no_grad():
        before = network.features(picture(64, 64))
        after = network.fuse().features(picture(64, 64))
    assert torch.allclose(before, after, atol=1e-4)


def test_channels_last_changes_nothing() -> None:
    network = make_network()
    with torch.no_grad():
        before = network.features(picture(64, 64))
        channels_last(network)
        after = network.features(picture(64, 64).contiguous(memory_format=torch.channels_last))
    assert torch.allclose(before, after, atol=1e-4)


def test_the_interior_does_not_depend_on_the_tile() -> None:
    """A pixel farther than the receptive field from both tiles' edges has the same features in both (a long strip)."""
    network = make_network()
    reach = receptive_reach(network)
    side = 2 * reach + 64 + (-(2 * reach + 64)) % 32
    long = picture(side + 128, 32)
    with torch.no_grad():
        whole = network.features(long)[..., 16:-16, :]
        part = network.features(long[..., 64:-64, :])
    inside = slice(reach // 4 + 1, -(reach // 4 + 1))
    assert whole[..., inside, :].shape[2] >= 14
    assert torch.allclose(whole[..., inside, :], part[..., inside, :], atol=1e-5)
    assert not torch.allclose(whole[..., 0, :], part[..., 0, :], atol=1e-5)


def receptive_reach(network: BundledNetwork) -> int:
    """Farthest input pixel along a strip that a middle cell feels, by its gradient."""
    side = 2048
    x = picture(side, 32).requires_grad_()
    network.features(x)[..., side // 8, :].sum().backward()
    rows = torch.nonzero(x.grad.abs().sum((0, 1, 3)))[:, 0]
    reach = int(max(side // 2 - rows.min(), rows.max() - side // 2))
    assert reach < side // 2 - 8
    return reach // 4 * 4 + 4


def published_trunk(name: str, file: Path | None = None) -> Trunk:
    trunk = Trunk(TRUNKS[name])
    load_trunk_weights(trunk, name, file)
    return trunk.eval()


def assert_same_features(trunk: Trunk, others: list[torch.nn.Module], stages: int = 4) -> None:
    """The other network's parts, one for each level, give the same features."""
    x = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        y = (x - trunk.shape.mean) / trunk.shape.std
        for level, part in list(zip(trunk(x), others, strict=True))[:stages]:
            y = part.eval()(y)
            assert torch.allclose(level, y, atol=2e-3)
            assert y.std() > 0.1


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_the_lite_trunks_are_those_of_timm(name: str) -> None:
    from rsov.engine.torchvision import prepare_torchvision

    pytest.importorskip(PUBLISHED[name].package)
    prepare_torchvision()
    timm = pytest.importorskip("timm")
    mine = published_trunk(name)
    oracle = timm.create_model(name.replace("-", "_"))
    source = [v for k, v in mine.state_dict().items() if not k.endswith("num_batches_tracked")]
    target = {k: v for k, v in oracle.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert [tuple(v.shape) for v in source] == [tuple(v.shape) for v in target.values()][: len(source)]
    oracle.load_state_dict(dict(zip(target, source, strict=False)), strict=False)
    for module in oracle.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3
    stem = torch.nn.Sequential(oracle.conv_stem, oracle.bn1)
    assert_same_features(mine, levels(mine, stem, list(oracle.blocks)))


def levels(trunk: Trunk, stem: torch.nn.Module, stages: list[torch.nn.Module]) -> list[torch.nn.Module]:
    """Another network's stages, those between two taps together."""
    taps = [-1, *trunk.shape.taps]
    parts = [torch.nn.Sequential(*stages[a + 1 : b + 1]) for a, b in pairwise(taps)]
    return [torch.nn.Sequential(stem, parts[0]), *parts[1:]]


def test_the_mobilenet_v2_trunk_is_that_of_torchvision(shared: Path) -> None:
    from rsov.engine.torchvision import prepare_torchvision

    prepare_torchvision()
    models = pytest.importorskip("torchvision.models")
    file = shared / "models" / "mobilenet_v2" / "mobilenet_v2.safetensors"
    oracle = models.mobilenet_v2(weights=None)
    oracle.load_state_dict({key: value.float() for key, value in load_file(file).items()})
    f = oracle.features
    assert_same_features(published_trunk("mobilenet-v2", file), [f[:4], f[4:7], f[7:14], f[14:18]])


def test_the_mobilenet_v3_trunk_is_that_of_timm_but_for_padding_and_the_cut_at_six(shared: Path) -> None:
    from rsov.engine.torchvision import prepare_torchvision

    prepare_torchvision()
    timm = pytest.importorskip("timm")
    file = shared / "models" / "mobilenetv3_large_minimal" / "mobilenetv3_large_minimal.safetensors"
    oracle = timm.create_model("tf_mobilenetv3_large_minimal_100", pad_type="", act_layer=torch.nn.ReLU6)
    oracle.load_state_dict({key: value.float() for key, value in load_file(file).items()})
    mine = published_trunk("mobilenet-v3-minimal", file)
    stem = torch.nn.Sequential(oracle.conv_stem, oracle.bn1)
    assert_same_features(mine, levels(mine, stem, list(oracle.blocks)))


def test_trunk_weights_that_are_missing_or_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="are not there"):
        published_trunk("mobilenet-v2")
    with pytest.raises(ModelError, match="are not there"):
        published_trunk("mobilenet-v2", tmp_path / "none.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"features.0.0.weight": torch.zeros(1)}, other)
    with pytest.raises(ModelError, match="not the expected ones"):
        published_trunk("mobilenet-v2", other)


@pytest.mark.parametrize("name", TRUNKS)
def test_every_trunk_carries_the_network(name: str) -> None:
    network = make_network(shape=replace(SMALL, trunk=name))
    with torch.no_grad():
        assert network(picture(64, 96)).shape == (1, 32, 16, 24)


def test_it_exports_with_a_free_batch() -> None:
    network = make_network().fuse()
    batch = torch.export.Dim("b", min=1, max=8)

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network.features(x)

    program = torch.export.export(
        Features(), (picture(64, 64).repeat(2, 1, 1, 1),), dynamic_shapes={"x": {0: batch}}
    )
    with torch.no_grad():
        three = picture(64, 64, 3).repeat(3, 1, 1, 1)
        assert torch.allclose(program.module()(three), network.features(three), atol=1e-4)


def test_a_bundle_comes_back(bundle: Path) -> None:
    network, card = load_bundled(bundle)
    assert card.data_sets == ("a", "b")
    assert card.weights_bytes == bundle.stat().st_size
    expected = make_network()
    with torch.no_grad():
        assert torch.allclose(network(picture(64, 64)), expected(picture(64, 64)), atol=0.02)


def test_the_shipped_bundle_is_whole_and_small() -> None:
    if not shipped_path().is_file():
        pytest.skip("no shipped weights in this checkout")
    network, card = load_bundled()
    assert card.weights_bytes <= 25e6
    assert card.dim == 384
    with torch.no_grad():
        assert bool(torch.isfinite(network(picture(64, 64))).all())


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def refused(path: Path, marker: Path | None = None) -> ModelError:
    path.with_suffix(".json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load_bundled(path)
    assert caught.value.code == 4
    assert marker is None or not marker.exists()
    return caught.value


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("form", ["plain", "torch", "old torch", "npy"])
def test_S01_pickles_are_refused_by_content(tmp_path: Path, name: str, form: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / name
    if form == "plain":
        path.write_bytes(pickle.dumps(Bomb(marker)))
    elif form == "npy":
        with path.open("wb") as handle:
            np.save(handle, np.array([Bomb(marker)], object), allow_pickle=True)
    else:
        torch.save({"x": Bomb(marker)}, path, _use_new_zipfile_serialization=form == "torch")
    error = refused(path, marker)
    assert ".safetensors" in error.fix


def test_S02_export_packages_are_refused(tmp_path: Path) -> None:
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    path = tmp_path / "w.safetensors"
    torch.export.save(program, str(tmp_path / "w.pt2"))
    (tmp_path / "w.pt2").rename(path)
    assert ".safetensors" in refused(path).fix


def test_S03_torchscript_and_onnx_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/code/__torch__.py", "")
        archive.writestr("w/constants.pkl", b"\x80\x02].")
    assert "torchscript" in refused(path).why
    path.write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(100))
    assert "onnx" in refused(path).why


@pytest.mark.parametrize(
    "damage", ["truncated", "huge header", "overlap", "trailing", "one bit", "empty", "text"]
)
def test_S05_damaged_files_are_refused(bundle: Path, damage: str) -> None:
    data = bytearray(bundle.read_bytes())
    length = int.from_bytes(data[:8], "little")
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "huge header":
        data[:8] = (10**12).to_bytes(8, "little")
    elif damage == "overlap":
        header = json.loads(data[8 : 8 + length])
        names = [n for n in header if n != "__metadata__"]
        header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]
        data[8 : 8 + length] = json.dumps(header).encode().ljust(length)[:length]
    elif damage == "trailing":
        data += b"more"
    elif damage == "one bit":
        data[-100] ^= 1
    else:
        data = bytearray(b"" if damage == "empty" else b"not weights at all")
    bundle.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        load_bundled(bundle)
    assert caught.value.code == 4


def rewrite(bundle: Path, change) -> None:
    """Change the tensors and let the card's sha256 follow."""
    import hashlib

    tensors = load_file(bundle)
    change(tensors)
    save_file(tensors, bundle)
    card = json.loads(bundle.with_suffix(".json").read_text())
    card["sha256"] = hashlib.sha256(bundle.read_bytes()).hexdigest()
    bundle.with_suffix(".json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.__setitem__("project.bias", t["project.bias"] * float("nan")), "not finite"),
        (lambda t: t.__setitem__("project.bias", torch.zeros(5)), "shape"),
        (lambda t: t.__setitem__("project.bias", t["project.bias"].half()), "float16"),
        (lambda t: t.pop("project.bias"), "missing"),
        (lambda t: t.__setitem__("extra", torch.zeros(1)), "not expected"),
    ],
)
def test_S05_tensors_that_do_not_fit_the_card_are_refused(bundle: Path, change, why: str) -> None:
    rewrite(bundle, change)
    with pytest.raises(ModelError) as caught:
        load_bundled(bundle)
    assert why in caught.value.why


@pytest.mark.parametrize("text", ["", "[]", "{", '{"name": "x"}', '{"name": 3}', '{"surprise": 1}', "\x00"])
def test_S05_a_broken_card_is_refused(bundle: Path, text: str) -> None:
    bundle.with_suffix(".json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load_bundled(bundle)
    assert caught.value.code == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gsd_range", 5),
        ("gsd_range", ["fine", "coarse"]),
        ("gsd_range", [0.3, 0.6, 0.9]),
        ("data_sets", "all"),
        ("data_sets", [1]),
        ("gsd", float("nan")),
        ("tile", True),
    ],
)
def test_a_card_with_a_value_of_another_type_is_refused(bundle: Path, key: str, value: object) -> None:
    table = json.loads(bundle.with_suffix(".json").read_text())
    bundle.with_suffix(".json").write_text(json.dumps(table | {key: value}))
    with pytest.raises(ModelError, match=key):
        load_bundled(bundle)


def test_weights_for_the_words_of_another_encoder_are_refused(bundle: Path) -> None:
    table = json.loads(bundle.with_suffix(".json").read_text())
    bundle.with_suffix(".json").write_text(json.dumps(table | {"text_encoder_sha256": "0" * 64}))
    with pytest.raises(ModelError, match="text encoder"):
        load_bundled(bundle)


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not there"):
        load_bundled(tmp_path / "none.safetensors")


def test_saving_refuses_values_that_are_not_finite(tmp_path: Path) -> None:
    state = make_network().state_dict()
    state["project.bias"] = state["project.bias"] * float("inf")
    card = BundledCard(
        name="x", version="1", sha256="", gsd=0.4, gsd_range=(0.3, 0.6), licence="", dim=32, coarse_channels=16, fine_channels=12
    )  # fmt: skip
    with pytest.raises(ModelError, match="do not fit"):
        save_bundled(tmp_path / "x.safetensors", state, card)
    assert list(tmp_path.iterdir()) == []


def test_pickle_bomb_of_the_tests_works(tmp_path: Path) -> None:
    """The marker really would appear: the refusals above prove something."""
    pickle.load(io.BytesIO(pickle.dumps(Bomb(tmp_path / "marker"))))
    assert (tmp_path / "marker").exists()
