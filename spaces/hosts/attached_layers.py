"""The layers of a model with a fusion between them, and the pass that goes through them.

The class of each layer is replaced by a subclass whose call applies the site to the layer's output. Forward hooks
would be simpler, but some versions of transformers recompute a layer under gradient checkpointing together with its
hooks. The site must run once a pass, outside of what is recomputed. Names of parameters, checks of a layer's class, its
attributes and its hooks stay as they were.

Axes: B batch, T tokens, D width. States may have any axes before the last.
"""

from __future__ import annotations

import threading
from typing import Any, cast

import torch
from torch import Tensor, nn

from depthweave.spaces.fusions import Fusion, Reader
from depthweave.spaces.hosts.description import AttachedFusion

MODULE_NAME = "depthweave"
"""Under this name a fusion is a module of its host."""
_STATES_ARGUMENT = "hidden_states"
_HALF_TYPES = (torch.bfloat16, torch.float16)

_attached_classes: dict[type[nn.Module], type[nn.Module]] = {}
"""By the class of a plain layer."""


class _Pass:
    """One forward pass through the layers."""

    def __init__(self, reader: Reader, state: Tensor) -> None:
        self.reader = reader
        self.device, self.dtype = state.device, state.dtype
        """Those of the first state, which all others are brought to."""
        self.done = 0
        """Number of the last layer whose site is computed."""

    def advance(self, number: int, state: Tensor) -> Tensor:
        """Returns what follows a layer, on the device and of the type of its output."""
        given = state.to(device=self.device, dtype=self.dtype)
        if self.dtype in _HALF_TYPES:
            # The weights are float32: products get them in the type of the states, norms and softmaxes do not.
            with torch.autocast(self.device.type, dtype=self.dtype):
                mixed = self.reader.advance(number, given)
        else:
            mixed = self.reader.advance(number, given)
        self.done = number
        assert isinstance(mixed, Tensor), "only fusions that give one tensor are attached"
        return mixed.to(device=state.device, dtype=state.dtype)


class _CurrentPass(threading.local):
    """The pass of each thread."""

    def __init__(self) -> None:
        # Not a default of the class, which the compiler would read in place of the thread's value.
        self.value: _Pass | None = None


class Attachment:
    """What the layers of one host share: its fusion, and the pass in progress."""

    def __init__(self, host: nn.Module, described: AttachedFusion) -> None:
        self.host = host
        self.described = described
        self.depth, self.width = described.wiring.depth, described.width
        self._current = _CurrentPass()

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the host starts without a pass.
        return {name: value for name, value in vars(self).items() if name != "_current"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._current = _CurrentPass()

    @property
    def fusion(self) -> Fusion:
        """The host's fusion, or what PEFT has put into its place, which passes attributes on to the active copy."""
        return cast(Fusion, getattr(self.host, MODULE_NAME))

    def enter(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        """Returns the arguments of a layer; before the first one a pass begins. A pass that failed is dropped."""
        if number > 1:
            self._check_order(number)
            return args, kwargs
        state = args[0] if args else kwargs.get(_STATES_ARGUMENT)
        if not isinstance(state, Tensor):
            raise TypeError(
                f"layer 1 was called with a {type(state).__name__}: an attached fusion needs the states as the first "
                f"argument or as {_STATES_ARGUMENT}="
            )
        self._check_width(state, "layer 1 was given")
        current = _Pass(self.fusion.open(), state)
        mixed = current.advance(0, state)
        self._current.value = current
        return ((mixed, *args[1:]), kwargs) if args else (args, {**kwargs, _STATES_ARGUMENT: mixed})

    def leave(self, number: int, output: Any) -> Any:
        """Returns a layer's output with the site's result as the states; after the last layer the pass ends."""
        parts = output if isinstance(output, (tuple, list)) else (output,)
        if not parts or not isinstance(parts[0], Tensor):
            raise TypeError(
                f"layer {number} returned a {type(output).__name__}: an attached fusion needs a tensor of states, or a "
                "tuple that begins with it"
            )
        self._check_width(parts[0], f"layer {number} returned")
        current = self._current.value
        assert current is not None, "`enter` has checked it"
        mixed = current.advance(number, parts[0])
        if number == self.depth:
            self.drop()
        if parts is not output:
            return mixed
        make = getattr(type(output), "_make", type(output))
        return make((mixed, *output[1:]))

    def drop(self) -> None:
        """Ends the pass and forgets its states."""
        self._current.value = None

    def _check_order(self, number: int) -> None:
        current = self._current.value
        if current is None or current.done != number - 1:
            before = "before layer 1" if current is None else f"after layer {current.done}"
            raise RuntimeError(
                f"layer {number} of {self.depth} was called {before}: with an attached fusion every layer runs once a "
                "pass and in order, so skip none, and put gradient checkpointing inside a layer, not around it"
            )

    def _check_width(self, state: Tensor, what: str) -> None:
        if state.is_nested:
            raise ValueError(f"{what} nested states: make the model without them (enable_nested_tensor=False)")
        if not state.ndim or state.shape[-1] != self.width:
            raise ValueError(
                f"{what} states of shape {list(state.shape)}, while the attached fusion has width {self.width}: "
                f"their last axis must be {self.width}"
            )


def attach_layer(layer: nn.Module, attachment: Attachment, number: int) -> None:
    """Makes a layer call its site after it; layers are numbered from 1."""
    layer.__class__ = _attached_class(type(layer))
    vars(layer).update(_depthweave_attachment=attachment, _depthweave_number=number)


def detach_layer(layer: nn.Module) -> None:
    """Makes a layer what it was. One whose class was changed again keeps its class, which then does nothing more."""
    for name in ("_depthweave_attachment", "_depthweave_number"):
        vars(layer).pop(name, None)
    plain = type(layer).__dict__.get("_depthweave_plain_class")
    if plain is not None:
        layer.__class__ = plain


def attachment_of(layer: nn.Module) -> Attachment | None:
    """Returns what a layer is attached to."""
    return cast("Attachment | None", getattr(layer, "_depthweave_attachment", None))


def _attached_class(plain: type[nn.Module]) -> type[nn.Module]:
    if plain not in _attached_classes:
        _attached_classes[plain] = _make_class(plain)
    return _attached_classes[plain]


def _make_class(plain: type[nn.Module]) -> type[nn.Module]:
    """Returns the subclass of a layer's class that calls the site, under the same name."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        attachment, number = self._depthweave_attachment, self._depthweave_number
        if attachment is None:
            return plain.__call__(self, *args, **kwargs)
        if torch.compiler.is_compiling():
            args, kwargs = attachment.enter(number, args, kwargs)
            return attachment.leave(number, plain.__call__(self, *args, **kwargs))
        try:
            args, kwargs = attachment.enter(number, args, kwargs)
            return attachment.leave(number, plain.__call__(self, *args, **kwargs))
        except BaseException:
            # Otherwise the states would stay in memory until the next pass.
            attachment.drop()
            raise

    def reduce(self: Any, protocol: Any) -> tuple[Any, ...]:
        # Pickle finds a class by its name, which is that of the plain one.
        reduced = plain.__reduce_ex__(self, protocol)
        assert isinstance(reduced, tuple)
        return (_new_layer, (plain,), *reduced[2:])

    return type(
        plain.__name__,
        (plain,),
        {
            "__module__": plain.__module__,
            "__qualname__": plain.__qualname__,
            "__doc__": plain.__doc__,
            "__call__": call,
            "__reduce_ex__": reduce,
            "_depthweave_plain_class": plain,
            "_depthweave_attachment": None,
            "_depthweave_number": 0,
        },
    )


def _new_layer(plain: type[nn.Module]) -> nn.Module:
    made = _attached_class(plain)
    return made.__new__(made)
