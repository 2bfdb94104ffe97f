"""Module: a function with parameters, made of other modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from needle.autograd import Parameter, Tensor
from needle.backend_ndarray import Device, DType, NDArray
from needle.errors import short
from needle.nn.checks import check_flags, floating_dtype
from needle.state_dict import array_like, check_names
from needle.typing import NumPyArray

if TYPE_CHECKING:
    from typing_extensions import Self

_Inputs = ParamSpec("_Inputs")
_Output = TypeVar("_Output", covariant=True)


class _HasForward(Protocol[_Inputs, _Output]):
    """A call of a Module takes and returns what its own `forward` does, for a type checker, too."""

    def forward(self, *args: _Inputs.args, **kwargs: _Inputs.kwargs) -> _Output: ...


class Module:
    """A function with parameters. A subclass assigns its parts in `__init__` and defines `forward`.

    The parts of a module are found in its attributes, in the order of definition, also inside lists, tuples and dicts.
    A Parameter is learned. Any other Tensor that is a leaf is a buffer (state that is not learned, such as running
    statistics). A Module is a submodule. The name of a part is the path to it: "blocks.0.weight". A part that can be
    reached in several ways counts once, under its first name.
    """

    training: bool = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output for an input."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self: _HasForward[_Inputs, _Output], *args: _Inputs.args, **kwargs: _Inputs.kwargs) -> _Output:
        return self.forward(*args, **kwargs)

    def parameters(self) -> list[Parameter]:
        """The parameters of this module and its submodules."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """(name, parameter) of this module and its submodules."""
        return [(name, value) for name, value in _walk(self) if isinstance(value, Parameter)]

    def named_buffers(self) -> list[tuple[str, Tensor]]:
        """(name, buffer) of this module and its submodules."""
        return [(name, value) for name, value in self._named_tensors() if not isinstance(value, Parameter)]

    def _named_tensors(self) -> list[tuple[str, Tensor]]:
        """Parameters and buffers."""
        return [(name, value) for name, value in _walk(self) if isinstance(value, Tensor) and value.is_leaf()]

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Puts this module and its submodules into training or evaluation mode; returns the module."""
        check_flags("train", mode=mode)
        modules: list[Module] = [self, *(value for _, value in _walk(self) if isinstance(value, Module))]
        for module in modules:
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode: dropout does nothing, and batch norm uses its running statistics."""
        return self.train(False)

    # State

    def to(self, device: Device | None = None, dtype: str | DType | None = None) -> Self:
        """Moves parameters and buffers, and their gradients, to a device, and converts floating ones to a dtype.

        The Parameters stay the same objects, so an optimizer that holds them keeps working. Returns the module.
        """
        if device is not None and not isinstance(device, Device):
            raise TypeError(
                f"to: device {short(device)}: expected a Device such as needle.cpu(); a dtype goes by dtype="
            )
        dtype = None if dtype is None else floating_dtype("to", dtype)

        def move(data: NDArray) -> NDArray:
            data = data if device is None else data.to(device)
            return data.astype(dtype) if dtype is not None and data.dtype.kind == "floating" else data

        for _, tensor in self._named_tensors():
            tensor.cached_data = move(tensor.cached_data)
            if tensor.grad is not None:
                tensor.grad = Tensor.make_const(move(tensor.grad.cached_data))
        return self

    def state_dict(self) -> dict[str, NumPyArray]:
        """Copies of all parameters and buffers as NumPy arrays, by name."""
        return {name: tensor.numpy() for name, tensor in self._named_tensors()}

    def load_state_dict(self, state: Mapping[str, NumPyArray | Tensor]) -> None:
        """Copies the result of `state_dict` into the parameters and buffers, which keep their devices and dtypes.

        Raises CheckpointError, and changes nothing, unless the names and the shapes are exactly those of this module.
        """
        tensors = dict(self._named_tensors())
        check_names("load_state_dict", state, tensors)
        arrays = {name: array_like(f"load_state_dict: {name}", state[name], tensor) for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            tensor.cached_data[...] = arrays[name]

    # Text

    def __str__(self) -> str:
        """The class and its settings (attributes that are plain numbers and strings): Dropout(p=0.5)."""
        settings = [
            f"{name}={value}"
            for name, value in vars(self).items()
            if isinstance(value, (int, float, str)) and name != "training" and not name.startswith("_")
        ]
        return type(self).__name__ + (f"({', '.join(settings)})" if settings else "")

    def __repr__(self) -> str:
        """The tree of modules, one per line, with the number of parameters in each."""
        return "\n".join(_tree(self, set()))


def _members(value: object, name: str = "") -> Iterator[tuple[str, Tensor | Module]]:
    """The named Tensors and Modules in a value; searches lists, tuples and dicts, but not Modules."""
    value = getattr(value, "__wrapped__", value)  # of a Module within ndl.jit
    if isinstance(value, (Tensor, Module)):
        yield name, value
        return
    entries: Iterable[tuple[object, object]]
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, (list, tuple)):
        entries = enumerate(value)
    else:
        return
    for key, entry in entries:
        yield from _members(entry, f"{name}.{key}" if name else str(key))


def _walk(module: Module, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Tensor | Module]]:
    """All named Tensors and Modules in a module, recursively, each once."""
    seen = {id(module)} if seen is None else seen
    for name, value in _members(vars(module)):
        if id(value) not in seen:
            seen.add(id(value))
            yield prefix + name, value
            if isinstance(value, Module):
                yield from _walk(value, f"{prefix}{name}.", seen)


def _tree(module: Module, seen: set[int]) -> list[str]:
    seen.add(id(module))
    count = sum(parameter.size for parameter in module.parameters())
    lines = [f"{module}: {count:,} parameters" if count else str(module)]
    for name, child in _members(vars(module)):
        if isinstance(child, Module) and id(child) not in seen:
            first, *rest = _tree(child, seen)
            lines += [f"  {name}: {first}", *(f"  {line}" for line in rest)]
    return lines
