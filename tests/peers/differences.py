"""All differences from PyTorch that Needle announces, in one table, which docs/coming-from-pytorch.md shows.

What is here must differ, as test_differences.py sees; what is not here must agree, as the others here see.
`python -m tests.peers.differences` prints the table as the document has it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """Two expressions and what they give, as `show` in test_differences.py writes it; an error by its name.

    In both, `t` makes a tensor, `p` a parameter, and `grad(f, x)` is the gradient of the sum of f(x), each of its own
    library; `lrs`, `after_steps`, `bound`, `twice` and `accumulated` are explained in the document.
    """

    name: str
    pytorch: str
    theirs: str
    needle: str
    ours: str
    why: str

    def row(self) -> str:
        """A row of the document's table."""
        cells = (self.name, f"`{self.pytorch}` gives {self.theirs}", f"`{self.needle}` gives {self.ours}", self.why)
        return "| " + " | ".join(cells) + " |"


HEADER = "| | PyTorch | Needle | why |\n| --- | --- | --- | --- |"

DIFFERENCES = [
    # Numbers and dtypes
    Difference(
        "sign of NaN", "torch.sign(t(nan))", "0.0", "ops.sign(t(nan))", "nan",
        "the array API standard: NaN stays NaN",
    ),
    Difference(
        "powers 0.5 and -0.5", "t([-0.0, -inf]) ** -0.5", "[-inf, nan]", "t([-0.0, -inf]) ** -0.5", "[inf, 0.0]",
        "the standard has no exception for these exponents; PyTorch takes a square root",
    ),
    Difference(
        "gelu at infinities", "F.gelu(t([inf, -inf]))", "[inf, nan]", "ops.gelu(t([inf, -inf]))", "[inf, -0.0]",
        "its limits, and 1 and 0 as its derivative, where PyTorch has NaN",
    ),
    Difference(
        "gelu far below 0", "F.gelu(t(-12.0))", "-0.0", "ops.gelu(t(-12.0))", "-2.1317784e-32",
        "right to the last place: Needle has a kernel for it, PyTorch computes 1 + erf",
    ),
    Difference(
        "a number divided by a tensor", "41.0 / t(41.0)", "0.99999994", "41.0 / t(41.0)", "1.0",
        "rounded once; PyTorch multiplies by a reciprocal",
    ),
    Difference(
        "numbers beside half types", 't(100.0, "bfloat16") + 1e5', "99840.0", 't(100.0, "bfloat16") + 1e5', "100352.0",
        "a number keeps its value, and the sum is rounded once; PyTorch rounds the number first",
    ),
    Difference(
        "integers out of range", 't(1, "uint8") + 300', "45", 't(1, "uint8") + 300', "DTypeError",
        "what is certainly not meant is an error",
    ),
    Difference(
        "floats out of range", 't(300.0).to(torch.uint8)', "44", 't(300.0).astype("uint8")', "255",
        "they become the nearest integer there is, and NaN 0, on every processor",
    ),
    Difference(
        "0-d tensors", '(t([1.0], "float16") * t(1.0)).dtype', "float16", '(t([1.0], "float16") * t(1.0)).dtype', "float32",
        "a tensor has its dtype whatever its shape; only numbers have none of their own",
    ),
    Difference(
        "comparisons with integers out of range", 't(1, "uint8") < -1', "True", 't(1, "uint8") < -1', "False",
        "comparisons are exact",
    ),
    Difference(
        "bools in subtractions", "1 - t(True)", "RuntimeError", "1 - t(True)", "0",
        "a bool beside numbers is 0 or 1, as in Python and NumPy",
    ),
    Difference(
        "powers of bools", "t(True) ** True", "True", "t(True) ** True", "DTypeError",
        "powers are of numbers",
    ),
    Difference(
        "int8 and uint8 together", '(t(1, "int8") + t(1, "uint8")).dtype', "int16",
        '(t(1, "int8") + t(1, "uint8")).dtype', "int32", "there is no int16",
    ),
    Difference(
        "negative powers of integers", "t(2) ** t(-1)", "0", "t(2) ** t(-1)", "DTypeError", "as NumPy",
    ),
    Difference(
        "mean of integers", "t([1, 2]).mean()", "RuntimeError", "t([1, 2]).mean()", "1.5",
        "it divides, and divisions of integers are float32",
    ),
    Difference(
        "logsumexp of integers", "t([0, 0]).logsumexp(0)", "0.6931472", "ops.logsumexp(t([0, 0]))", "DTypeError",
        "none of softmax's relatives takes integers",
    ),
    Difference(
        "float64 from NumPy", "torch.tensor(np.ones(1)).dtype", "float64", "ndl.Tensor(np.ones(1)).dtype", "float32",
        "float32 is what networks compute in; `dtype=` says otherwise",
    ),
    # Indices
    Difference(
        "negative steps", "t([1, 2])[::-1]", "ValueError", "t([1, 2])[::-1]", "[2, 1]",
        "as NumPy; a view like any other",
    ),
    Difference(
        "labels of -100", "F.cross_entropy(t([[1.0, 2.0]]), t([-100]))", "nan",
        "nn.SoftmaxLoss()(t([[1.0, 2.0]]), t([-100]))", "ShapeError",
        "no label is ignored: one out of range is a mistake",
    ),
    # Gradients
    Difference(
        "who has gradients", "torch.tensor(1.0).requires_grad", "False", "ndl.Tensor(1.0).requires_grad", "True",
        "as in the course",
    ),
    Difference(
        "a second backward pass", "accumulated(p(1.0))", "4.0", "accumulated(p(1.0))", "2.0",
        "`backward` replaces `grad`, as in the course",
    ),
    Difference(
        "a second one over the same graph", "twice(t(3.0))", "RuntimeError", "twice(t(3.0))", "6.0",
        "the graph stays where it reaches no Parameter, as in the course",
    ),
    Difference(
        "equal maxima along an axis", "grad(lambda x: x.max(0).values, [1.0, 1.0])", "[1.0, 0.0]",
        "grad(lambda x: x.max(0), [1.0, 1.0])", "[0.5, 0.5]", "as PyTorch's own `amax` and `max()`",
    ),
    Difference(
        "NaN among them", "grad(lambda x: x.amax(0), [1.0, nan])", "[nan, nan]",
        "grad(lambda x: x.max(0), [1.0, nan])", "[0.0, 1.0]", "as PyTorch's own `max()`",
    ),
    Difference(
        "several NaN in a pooling window",
        "grad(lambda x: F.max_pool2d(x.reshape(1, 1, 2, 2), 2), [nan, 1.0, nan, 1.0])", "[0.0, 0.0, 1.0, 0.0]",
        "grad(lambda x: nn.MaxPool2d(2)(x.reshape(1, 1, 2, 2)), [nan, 1.0, nan, 1.0])", "[1.0, 0.0, 0.0, 0.0]",
        "the first of what is largest, of numbers as of NaN",
    ),
    # Operations and layers
    Difference(
        "images in `ops`", "F.max_pool2d(torch.zeros(1, 3, 8, 6), 2).shape", "(1, 3, 4, 3)",
        "ops.max_pool2d(ndl.init.zeros(1, 8, 6, 3), 2).shape", "(1, 4, 3, 3)",
        "channels come last, as the kernels want them; layers of `nn` take (N, C, H, W)",
    ),
    Difference(
        "weights of Linear", "torch.nn.Linear(2, 3).weight.shape", "(3, 2)", "nn.Linear(2, 3).weight.shape", "(2, 3)",
        "as in the course: x @ weight",
    ),
    Difference(
        "weights of Conv", "torch.nn.Conv2d(2, 4, 3).weight.shape", "(4, 2, 3, 3)", "nn.Conv(2, 4, 3).weight.shape",
        "(3, 3, 2, 4)", "as in the course",
    ),
    Difference(
        "weights of RNN and LSTM", "torch.nn.LSTM(2, 3).weight_ih_l0.shape", "(12, 2)",
        "nn.LSTM(2, 3).lstm_cells[0].W_ih.shape", "(2, 12)", "as in the course; the gates have PyTorch's order",
    ),
    Difference(
        "first weights of Linear", "bound(torch.nn.Linear(600, 400).weight)", "0.041",
        "bound(nn.Linear(600, 400).weight)",
        "0.1", "Kaiming uniform, as in the course, on ±sqrt(6 / in); PyTorch's are on ±sqrt(1 / in)",
    ),
    Difference(
        "first weights of Conv", "bound(torch.nn.Conv2d(24, 40, 5).weight)", "0.041",
        "bound(nn.Conv(24, 40, 5).weight)",
        "0.1", "the same",
    ),
    Difference(
        "padding of Conv", "torch.nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 8, 8)).shape", "(1, 1, 6, 6)",
        "nn.Conv(1, 1, 3)(ndl.init.zeros(1, 1, 8, 8)).shape", "(1, 1, 8, 8)",
        "kernel_size // 2, as in the course",
    ),
    Difference(
        "running variance of batch norm", "running_var(torch.nn.BatchNorm1d(1, momentum=1.0), [[0.0], [2.0]])", "2.0",
        "running_var(nn.BatchNorm1d(1, momentum=1.0), [[0.0], [2.0]])", "1.0",
        "divided by n, as in the course; PyTorch's by n - 1",
    ),
    Difference(
        "batch norm of one row", "torch.nn.BatchNorm1d(1)(t([[3.0]]))", "ValueError", "nn.BatchNorm1d(1)(t([[3.0]]))",
        "[[0.0]]", "what the formula gives",
    ),
    Difference(
        "ids that are floats", "F.embedding(t([1.0]), t([[0.0], [7.0]]))", "RuntimeError",
        "ops.embedding(t([1.0]), t([[0.0], [7.0]]))", "[[7.0]]", "as the course's loaders give them; 1.5 is an error",
    ),
    Difference(
        "causal attention with fewer queries than keys",
        "F.scaled_dot_product_attention(t([[[[0.0]]]]), t([[[[0.0], [0.0]]]]), t([[[[2.0], [4.0]]]]), is_causal=True)",
        "[[[[2.0]]]]",
        "nn.MultiHeadAttention(causal=True)(t([[[[0.0]]]]), t([[[[0.0], [0.0]]]]), t([[[[2.0], [4.0]]]]))[0]",
        "[[[[3.0]]]]", "the last query stands at the last key, as when a sequence goes on",
    ),
    Difference(
        "dropout of everything", "torch.nn.Dropout(1.0)(t(1.0))", "0.0", "nn.Dropout(1.0)(t(1.0))", "ValueError",
        "nothing would be learned",
    ),
    Difference(
        "split", "len(torch.split(t([1, 2, 3, 4]), 2))", "2", "len(ops.split(t([1, 2, 3, 4])))", "4",
        "as in the course: all slices along an axis, PyTorch's `unbind`",
    ),
    # Optimizers and schedules
    Difference(
        "momentum of SGD", "after_steps(torch.optim.SGD, lr=1.0, momentum=0.5)", "[0.0, -1.5]",
        "after_steps(optim.SGD, lr=1.0, momentum=0.5)", "[0.5, -0.25]",
        "an average of gradients, as in the course; `dampening=0` gives PyTorch's sum",
    ),
    Difference(
        "learning rate of SGD", 'torch.optim.SGD([p(1.0)]).param_groups[0]["lr"]', "0.001",
        "optim.SGD([p(1.0)]).lr", "0.01",
        "as in the course",
    ),
    Difference(
        "learning rate of Adam", 'torch.optim.Adam([p(1.0)]).param_groups[0]["lr"]', "0.001", "optim.Adam([p(1.0)]).lr",
        "0.01", "as in the course; AdamW has PyTorch's",
    ),
    Difference(
        "CosineAnnealingLR after T_max", "lrs(lambda o: lr_scheduler.CosineAnnealingLR(o, 2), 4)",
        "[1.0, 0.5, 0.0, 0.5, 1.0]", "lrs(lambda o: optim.CosineAnnealingLR(o, 2), 4)", "[1.0, 0.5, 0.0, 0.0, 0.0]",
        "it does not go up again",
    ),
    Difference(
        "OneCycleLR after its end", "lrs(lambda o: lr_scheduler.OneCycleLR(o, 1.0, 3, pct_start=2 / 3), 4)",
        "ValueError",
        "lrs(lambda o: optim.OneCycleLR(o, 1.0, 3, pct_start=2 / 3), 4)", "[0.04, 1.0, 4e-06, 4e-06, 4e-06]",
        "the rate stays",
    ),
    Difference(
        "OneCycleLR and momentum", "momentum_of(lambda o: lr_scheduler.OneCycleLR(o, 1.0, 9))", "0.95",
        "momentum_of(lambda o: optim.OneCycleLR(o, 1.0, 9))", "0.5", "a schedule sets the learning rate alone",
    ),
]  # fmt: skip


def table() -> str:
    """The table in the document."""
    return "\n".join([HEADER, *(difference.row() for difference in DIFFERENCES)])


if __name__ == "__main__":
    print(table())
