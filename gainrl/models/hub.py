"""A causal language model by hub id, from a folder or from a file, ready to be trained as a policy.

Three things that transformers leaves to its users are settled here. The model is in train mode, without which
gradient checkpointing does nothing, and without dropout, so that two passes give the same log-probs. All tokens that
may end an answer are stop ids, and the pad id is none of them. The sampling defaults that published models carry
(Qwen2.5: a repetition penalty, top-k 20) are dropped, since a policy gradient needs the model's own distribution.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from gainrl.models.four_bit import four_bit_settings, has_transposed_layers, keep_kernels_equal, mark_packable
from gainrl.models.gguf import as_folder
from gainrl.models.lora import add_adapter
from gainrl.models.packaged import SCHEME, PackagedFile
from gainrl.models.resolve import check_model_source, weights_mark
from gainrl.models.stops import choose_pad, find_stops
from gainrl.types import Policy

Dtype = Literal["float32", "bfloat16", "float16", "auto"]
Attention = Literal["auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "auto": "auto"}


class HubModel:
    """A causal language model of a hub or of this machine, and checks that need no weights.

    ``source`` is a hub id, a folder, a ``.gguf`` file (`models.gguf`) or a file inside a package of the package index
    (`models.packaged`). ``warm_start``: settings of a supervised phase before anything else (`training.warm_start`), or
    None. ``dtype`` is that of the weights (``auto``: as stored); with small steps
    they should be float32 and the forward pass mixed. ``attention=auto`` takes the fastest that the architecture and
    PyTorch alone support. ``lora_rank`` above 0 trains an adapter instead of the weights, whose first values
    ``lora_seed`` decides; with ``load_in_4bit`` the frozen weights below it are kept in 4 bits (`models.four_bit`).
    ``chat_template`` is a file that replaces the tokenizer's template, ``stop_tokens`` are
    further tokens that end an answer. Raises ValueError for an unknown ``dtype`` or ``attention``.
    """

    def __init__(
        self,
        *,
        source: str,
        revision: str | None = None,
        dtype: Dtype = "float32",
        attention: Attention = "auto",
        gradient_checkpointing: bool = False,
        lora_rank: int = 0,
        lora_alpha: int | None = None,
        lora_targets: Sequence[str] | str = "all-linear",
        lora_seed: int = 0,
        load_in_4bit: bool = False,
        chat_template: str | None = None,
        stop_tokens: Sequence[str] = (),
        warm_start: Any = None,
    ) -> None:
        if dtype not in _DTYPES:
            raise ValueError(f"model.dtype={dtype!r} is not known; use one of {', '.join(_DTYPES)}")
        if attention not in get_args(Attention):
            raise ValueError(f"model.attention={attention!r} is not known; use one of {', '.join(get_args(Attention))}")
        if lora_rank < 0:
            raise ValueError(f"model.lora_rank={lora_rank} must be 0, which trains all weights, or at least 1")
        if load_in_4bit and not lora_rank:
            raise ValueError(
                "model.load_in_4bit=true freezes the model, and lora_rank=0 leaves nothing that trains; type "
                "model.lora_rank=32, or model.load_in_4bit=false"
            )
        self.load_in_4bit = load_in_4bit
        self.source, self.revision, self.chat_template = source, revision, chat_template
        self.dtype, self.attention, self.gradient_checkpointing = dtype, attention, gradient_checkpointing
        self.lora_rank, self.lora_alpha = lora_rank, lora_alpha
        self.lora_targets, self.lora_seed = lora_targets, lora_seed
        self.stop_tokens = tuple(stop_tokens)
        self.warm_start = warm_start
        self._folder: str | None = None

    def fetch(self, tell: Callable[[str], None]) -> str | None:
        """Brings a packaged or ``.gguf`` model into the cache and returns its folder; None for any other source.

        Raises ValueError where the file can't be had or read.
        """
        if self.source.startswith(SCHEME):
            return str(as_folder(PackagedFile.parse(self.source).fetch(tell), tell))
        return self._place() if self.source.endswith(".gguf") else None

    def check(self) -> Any:
        """The model's configuration.

        Raises ValueError where files are missing, with what to download and where to put it, and for a model that
        generates without ``past_key_values``.
        """
        self._quantization()
        config = check_model_source(self._place(), revision=self.revision, chat_template=self.chat_template)
        kind: Any = AutoModelForCausalLM._model_mapping.get(type(config), None)
        if kind is not None and "past_key_values" not in inspect.signature(kind.forward).parameters:
            raise ValueError(
                f"model.source={self.source}: a {kind.__name__} does not take past_key_values, in which rollouts keep "
                "the state of a text; give a model with attention, alone or among recurrent layers, such as "
                "model.source=Qwen/Qwen2.5-0.5B-Instruct"
            )
        if self.load_in_4bit and has_transposed_layers(self._bare(config)):
            raise ValueError(
                f"model.source={self.source} keeps its weights transposed, as GPT-2 does, and cannot be saved from 4 "
                "bits; type model.load_in_4bit=false"
            )
        return config

    def identity(self) -> dict[str, Any]:
        """What decides the weights before a warm start, and which of them it trains, as plain values."""
        adapter = None
        if self.lora_rank:
            targets = self.lora_targets if isinstance(self.lora_targets, str) else list(self.lora_targets)
            adapter = {"rank": self.lora_rank, "alpha": self.lora_alpha, "targets": targets}
            if self.load_in_4bit:
                adapter["below"] = "nf4"
        return {"weights": weights_mark(self._place(), self.revision), "dtype": self.dtype, "adapter": adapter}

    def origin(self) -> str | None:
        """Hub id and commit where the model comes from a hub; None for a file or folder."""
        return None if Path(self._place()).is_dir() else weights_mark(self._place(), self.revision)

    def context_length(self) -> int | None:
        """Positions the model has, None if its configuration does not say."""
        return getattr(self.check().get_text_config(), "max_position_embeddings", None)

    def tokenizer(self) -> Any:
        """The model's tokenizer, with the chat template of the file where one is given.

        Raises ValueError where a file of the tokenizer or the chat template cannot be read, and for a stop token that
        it does not have.
        """
        place = self._place()
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, revision=self.revision)
        except Exception as fault:  # of any type, depending on the damage
            reason = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
            raise ValueError(
                f"the tokenizer of model.source={self.source} cannot be read ({reason}); fetch its files again"
            ) from fault
        strangers = [token for token in self.stop_tokens if token not in tokenizer.get_vocab()]
        if strangers:
            raise ValueError(
                f"model.stop_tokens names {strangers[0]!r}, which is no single token of this model; leave it out"
            )
        if self.chat_template is not None:
            try:
                tokenizer.chat_template = Path(self.chat_template).expanduser().read_text(encoding="utf-8")
            except (OSError, ValueError) as fault:
                raise ValueError(f"model.chat_template={self.chat_template} cannot be read: {fault}") from fault
        return tokenizer

    def skeleton(self) -> Any:
        """The model without memory for its weights (on the device ``meta``), adapters included."""
        config = self.check()
        without_dropout(config)
        model = self._bare(config)
        if self.load_in_4bit:
            mark_packable(model)
        with torch.device("meta"):
            if self.lora_rank:
                model = add_adapter(model, rank=self.lora_rank, alpha=self.lora_alpha, targets=self.lora_targets)
        model.train()
        if self.gradient_checkpointing:
            enable_checkpointing(model)
        return model

    def load(self, folder: str | Path | None = None) -> Policy:
        """The policy, in train mode, with the weights of ``folder`` where one is given (those of its warm start).

        Raises ValueError if the model is missing or cannot be run as asked.
        """
        place = self._place() if folder is None else str(folder)
        config = check_model_source(place, revision=self.revision, chat_template=self.chat_template)
        without_dropout(config)
        tokenizer = self.tokenizer()
        try:
            model = AutoModelForCausalLM.from_pretrained(
                place,
                revision=self.revision,
                config=config,
                dtype=_DTYPES[self.dtype],
                attn_implementation=None if self.attention == "auto" else self.attention,
                **self._quantization(),
            )
        except (ImportError, ValueError) as fault:
            raise ValueError(
                f"{self.source} cannot be loaded with attention={self.attention!r} (try 'auto'): {fault}"
            ) from fault
        embeddings: Any = model.get_input_embeddings()
        rows = embeddings.weight.shape[0]
        if len(tokenizer) > rows:
            raise ValueError(
                f"the tokenizer of {self.source} has {len(tokenizer)} tokens and the model {rows} embeddings; "
                "they do not belong together, or tokens were added without resizing the model"
            )
        stop_ids = find_stops(tokenizer, model, extra=self.stop_tokens)
        pad_id = choose_pad(tokenizer, stop_ids)
        model.generation_config = GenerationConfig(eos_token_id=list(stop_ids), pad_token_id=pad_id)
        if self.load_in_4bit:
            keep_kernels_equal(model)
        if self.lora_rank:
            model = add_adapter(
                model, rank=self.lora_rank, alpha=self.lora_alpha, targets=self.lora_targets, seed=self.lora_seed
            )
        model.train()
        if self.gradient_checkpointing:
            enable_checkpointing(model)
        assert_deterministic(model)
        return Policy(model=model, tokenizer=tokenizer, stop_ids=stop_ids, pad_id=pad_id)

    def _bare(self, config: Any) -> Any:
        """The model of a configuration, without memory and without an adapter."""
        dtype = _DTYPES["float32" if self.dtype == "auto" else self.dtype]
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=dtype)

    def _quantization(self) -> dict[str, Any]:
        """What the loader is told of 4 bits. The trainer moves the model to its device, as it does any other."""
        if not self.load_in_4bit:
            return {}
        return {"quantization_config": four_bit_settings(_DTYPES[self.dtype]), "device_map": {"": "cpu"}}

    def _place(self) -> str:
        """A folder or a hub id. The first call for a ``.gguf`` file reads it into a folder of the cache."""
        if self._folder is None:
            path = Path(self.source).expanduser()
            if self.source.startswith(SCHEME):
                self._folder = str(as_folder(PackagedFile.parse(self.source).find()))
            elif path.suffix == ".gguf":
                if not path.is_file():
                    raise ValueError(f"model.source={self.source} is not a file; give the path of a .gguf file")
                self._folder = str(as_folder(path))
            else:
                self._folder = str(path) if path.is_dir() else self.source
        return self._folder


def without_dropout(config: Any) -> None:
    """Sets every dropout rate of a model configuration, and of those inside it, to 0."""
    for name, value in vars(config).items():
        if _is_dropout(name) and isinstance(value, (int, float)):
            setattr(config, name, 0.0)
    for inner in getattr(config, "sub_configs", {}):
        if getattr(config, inner, None) is not None:
            without_dropout(getattr(config, inner))


def assert_deterministic(model: nn.Module) -> None:
    """Raises ValueError if a module of the model would drop activations in train mode."""
    for name, module in model.named_modules():
        rate = getattr(module, "p", 0.0) if isinstance(module, nn.modules.dropout._DropoutNd) else 0.0
        rates = [v for k, v in vars(module).items() if _is_dropout(k) and isinstance(v, (int, float))]
        if any(value > 0 for value in (rate, *rates)):
            raise ValueError(
                f"{name} still has dropout, so that log-probs of the same tokens would differ between two passes; "
                "this architecture needs its dropout set to 0 in its config.json"
            )


def enable_checkpointing(model: Any) -> None:
    """Makes a model in train mode recompute its layers in the backward pass.

    Raises ValueError where the architecture cannot. A model that checkpoints must be in eval mode to generate: in
    train mode its layers ignore the key-value cache.
    """
    if not model.supports_gradient_checkpointing:
        raise ValueError(f"{type(model).__name__} cannot checkpoint; use model.gradient_checkpointing=false")
    current = getattr(model, "activation_checkpointing_enable", None)  # the name since transformers 5.20
    if current is not None:
        current(activation_checkpointing_kwargs={"use_reentrant": False})
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if not checkpointing_active(model):
        raise ValueError(f"{type(model).__name__} does not checkpoint; use model.gradient_checkpointing=false")


def checkpointing_active(model: nn.Module) -> bool:
    """True if layers of the model checkpoint, and all that could do so are in train mode."""
    layers = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    return bool(layers) and all(layer.training for layer in layers)


def _is_dropout(name: str) -> bool:
    return "dropout" in name or "layerdrop" in name or name.endswith("pdrop")
