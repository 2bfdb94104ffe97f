"""All operations, for Tensors and for NDArrays, each as often as its weight says."""

from tests.programs import binary, in_place, indices, moving, reductions, unary
from tests.programs.operation import NDARRAY, TENSOR

ALL = [
    *binary.BINARY, *unary.UNARY, *unary.CHOOSING,
    *reductions.REDUCTIONS, *reductions.SOFTMAXES, *reductions.PRODUCTS,
    *moving.VIEWS, *moving.SEVERAL,
    *indices.READING, *indices.WRITING, *in_place.IN_PLACE,
]  # fmt: skip

OPERATIONS = {
    face: [operation for operation in ALL if face in operation.faces for _ in range(operation.weight)]
    for face in (TENSOR, NDARRAY)
}

SMOOTH = [operation for operation in OPERATIONS[TENSOR] if operation.formula]  # those whose gradients are compared
