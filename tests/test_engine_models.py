"""Models as the engine meets them: by name, on a device, in a number type, behind the protocol."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rsov.engine.forward import Forward
from rsov.errors import ExitCode, ModelError, UsageError
from rsov.jobs.predict import predict
from rsov.models.backend import choose_device, choose_dtype, prepare
from rsov.models.bundled.network import BundledNetwork
from rsov.models.bundled.segmenter import BundledSegmenter
from rsov.models.bundled.weights import BundledCard, save_bundled
from rsov.models.protocol import ABSENT, Segmenter, text_head
from rsov.models.registry import find_weights, load_segmenter, model_card
from rsov.types import Background, BackgroundTerm, Legend, LegendClass, Notices
from tests.support.models import ColourSegmenter, RandomSegmenter
from tests.support.scenes import legend

CPU = torch.device("cpu")
RED = (255, 0, 0)
WATER = Background((BackgroundTerm("water", ("water", "lake")), BackgroundTerm("sand", ("sand",))))


def embed(texts):
    """Unit vectors drawn by the text."""
    rows = [np.random.default_rng([ord(c) for c in t]).standard_normal(384) for t in texts]
    return np.array([r / np.linalg.norm(r) for r in rows], np.float32).reshape(-1, 384)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    card = BundledCard("tiny", "1", "", 0.5, (0.3, 1.0), "Apache-2.0", logit_scale=12.0, temperature=1.5)
    place = tmp_path_factory.mktemp("bundle") / "tiny.safetensors"
    save_bundled(place, BundledNetwork().eval().state_dict(), card)
    return place


def pixels(seed=0, size=96):
    return np.random.default_rng(seed).integers(0, 256, (1, 3, size, size)).astype(np.uint8)


def scores(segmenter, words=("forest", "road"), background=WATER, data=None):
    head = segmenter.head(legend(*words), background, embed)
    with torch.inference_mode():
        return segmenter.scores(segmenter.features(pixels() if data is None else data), head)


def test_a_class_keeps_its_texts_and_a_background_name_is_the_unit_mean_of_its_own():
    classes = Legend(
        (LegendClass(1, "forest", ("forest", "wood"), RED), LegendClass(2, "road", ("road",), RED))
    )
    head = text_head(classes, WATER, embed, 384)
    np.testing.assert_allclose(head.texts, embed(["forest", "wood", "road"]), atol=1e-6)
    mean = embed(["water", "lake"]).mean(0)
    np.testing.assert_allclose(head.background[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert head.counts == (2, 1)
    assert head.channels == 3


def test_the_best_text_of_a_class_counts(bundle):
    """A class of two texts has the larger of the two scores that they have as classes of their own."""
    segmenter = load_segmenter(bundle, "cpu", "fp32")
    both = Legend((LegendClass(1, "forest", ("forest", "wood"), RED), LegendClass(2, "road", ("road",), RED)))
    with torch.inference_mode():
        features = segmenter.features(pixels())
        apart = segmenter.scores(features, segmenter.head(legend("forest", "wood", "road"), WATER, embed))
        joint = segmenter.scores(features, segmenter.head(both, WATER, embed))
    torch.testing.assert_close(joint[:, 0], apart[:, 0])
    torch.testing.assert_close(joint[:, 1], apart[:, 1:3].amax(1))
    torch.testing.assert_close(joint[:, 2], apart[:, 3])


def test_texts_are_encoded_in_one_call_and_no_background_has_no_rows():
    calls = []
    head = text_head(legend("forest"), Background(()), lambda texts: calls.append(texts) or embed(texts), 384)
    assert calls == [["forest"]]
    assert head.background.shape == (0, 384)


def test_scores_are_scaled_cosines_and_none_is_the_best_background_name(bundle):
    """The oracle is the network's own unfolded vectors."""
    segmenter = load_segmenter(bundle, "cpu", "fp32")
    assert isinstance(segmenter, Segmenter)
    got = scores(segmenter).numpy()
    network = load_segmenter(bundle, "cpu", "fp32")._network
    with torch.no_grad():
        vectors = network(torch.from_numpy(pixels()).float())[0].numpy()
    head = text_head(legend("forest", "road"), WATER, embed, 384)
    scale = 12.0 / 1.5
    background = scale * np.einsum("kd,dhw->khw", head.background, vectors)
    np.testing.assert_allclose(got[0, 1:], scale * np.einsum("kd,dhw->khw", head.texts, vectors), atol=2e-3)
    np.testing.assert_allclose(got[0, 0], background.max(0), atol=2e-3)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous


def test_without_a_background_none_never_wins(bundle):
    got = scores(load_segmenter(bundle, "cpu", "fp32"), background=Background(()))
    assert (got[:, 0] == ABSENT).all()
    assert (got[:, 1:].amax(1) > ABSENT).all()


def test_bf16_labels_are_nearly_those_of_fp32(bundle):
    one, other = (scores(load_segmenter(bundle, "cpu", p)).argmax(1) for p in ("fp32", "bf16"))
    assert (one == other).float().mean() > 0.95


@pytest.mark.parametrize(("asked", "said"), [("fp32", "fp32"), ("bf16", "bf16"), ("auto", None)])
def test_the_report_says_what_auto_became(bundle, ortho, out, asked, said):
    found = predict(ortho, "forest", out=out, model=str(bundle), precision=asked, vector_format=()).map.report
    device = choose_device("auto")
    names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    assert found["model"]["precision"] == (said or names[choose_dtype("auto", device)])
    assert found["model"]["device"] == str(device)
    assert (found["settings"]["precision"], found["settings"]["device"]) == (asked, "auto")


def test_a_model_that_does_not_say_where_it_computes_is_reported_so(ortho, out):
    found = predict(ortho, "forest", out=out, model=ColourSegmenter(), vector_format=()).map.report
    assert (found["model"]["precision"], found["model"]["device"]) == (None, None)


def test_a_segmenter_serves_one_head_after_another(bundle):
    segmenter = load_segmenter(bundle, "cpu", "fp32")
    first = scores(segmenter)
    assert scores(segmenter, ("roof", "lawn", "field")).shape[1] == 4
    assert torch.equal(scores(segmenter), first)


def test_weights_are_channels_last_and_of_the_chosen_type(bundle):
    segmenter = load_segmenter(bundle, "cpu", "bf16")
    assert isinstance(segmenter, BundledSegmenter)
    for weight in segmenter._network.trunk.parameters():
        assert weight.dtype is torch.bfloat16
        assert not weight.requires_grad
        assert weight.dim() != 4 or weight.is_contiguous(memory_format=torch.channels_last)
    assert segmenter._network.project.weight.dtype is torch.float32, "heads are folded from exact weights"
    assert segmenter.features(pixels()).is_contiguous(memory_format=torch.channels_last)


def test_a_prepared_network_can_be_exported(bundle):
    """Weights made in inference mode could not."""
    network = prepare(BundledNetwork().eval().fuse(), CPU, torch.float32)
    torch.export.export(network.trunk, (torch.zeros(1, 3, 64, 64),))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512f avx512_bf16", torch.bfloat16),
        ("fpu amx_bf16", torch.bfloat16),
        ("fpu avx2 avx512f", torch.float32),
    ],
)
def test_auto_precision_is_bf16_only_where_the_processor_has_it(tmp_path, flags, expected):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor: 0\nflags\t\t: {flags}\n")
    assert choose_dtype("auto", CPU, info) is expected
    assert choose_dtype("fp32", CPU, info) is torch.float32
    assert choose_dtype("bf16", CPU, info) is torch.bfloat16
    assert choose_dtype("auto", CPU, tmp_path / "missing") is torch.float32


@pytest.mark.parametrize("name", ["tpu9", "cuda:99", "meta", ""])
def test_a_device_that_is_not_here_is_a_fault_of_usage(name):
    with pytest.raises(UsageError) as caught:
        choose_device(name)
    assert caught.value.code == ExitCode.USAGE
    assert "cpu" in caught.value.fix


def test_the_cpu_is_always_a_device():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in {"cpu", "cuda"}


def test_an_unknown_model_names_a_near_one():
    with pytest.raises(ModelError) as caught:
        load_segmenter("bundeld")
    assert caught.value.code == ExitCode.MODEL
    assert "--model bundled" in caught.value.fix


def test_a_folder_with_one_weights_file_is_a_bundle(bundle, tmp_path):
    assert find_weights(bundle.parent) == bundle
    assert model_card(str(bundle.parent)).name == "tiny"
    with pytest.raises(ModelError, match="not a bundle"):
        find_weights(tmp_path)


def test_a_card_is_read_without_its_weights(bundle, monkeypatch):
    monkeypatch.setattr("rsov.models.bundled.weights.load", None)
    card = model_card(bundle)
    assert (card.gsd, card.gsd_range, card.stride) == (0.5, (0.3, 1.0), 4)


def test_the_models_of_the_tests_follow_the_protocol():
    for model in (ColourSegmenter(), RandomSegmenter()):
        assert isinstance(model, Segmenter)
        got = scores(model, data=pixels(size=64))
        assert got.shape == (1, 3, 16, 16)
        assert got.dtype == torch.float32


def test_scores_that_are_not_finite_end_the_run():
    class Overflown(ColourSegmenter):
        def scores(self, features, head):
            return super().scores(features, head).fill_(float("nan"))

    segmenter = Overflown()
    head = segmenter.head(legend("forest", "road"), Background(()), embed)
    with pytest.raises(ModelError) as caught:
        Forward(segmenter, head, 1, Notices())([pixels()[0]])
    assert caught.value.id == "E-model-scores"
