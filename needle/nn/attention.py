"""Attention (Vaswani et al. 2017): each position of a sequence takes a weighted mean of the values of all positions."""

from __future__ import annotations

import functools
import math

import numpy as np

from needle import ops
from needle.autograd import Tensor
from needle.backend_ndarray import Device, DType
from needle.backend_ndarray.recording import recorder
from needle.errors import ShapeError
from needle.nn.checks import check_counts, check_flags, check_tensor, parameter_options
from needle.nn.dropout import Dropout
from needle.nn.linear import Linear
from needle.nn.module import Module
from needle.nn.norm import LayerNorm1d


@functools.lru_cache(maxsize=8)
def causal_mask(queries: int, keys: int, device: Device, dtype: DType) -> Tensor:
    """A mask to add to scores (queries, keys): 0 where query i may see key j, -inf where j lies ahead of it.

    The last query is aligned with the last key: i sees j <= i + keys - queries. -inf is the same in every dtype.
    """
    ahead = np.triu(np.full((queries, keys), -np.inf), keys - queries + 1)
    return Tensor(ahead, device=device, dtype=dtype, requires_grad=False)


class MultiHeadAttention(Module):
    """Scaled dot-product attention, separately for each head, without parameters:

        probs = dropout(softmax(q k^T / sqrt(D) + mask)), result = probs v

    causal: a query sees no key ahead of it. If T_q and T_k differ, the last query is aligned with the last key.
    The inputs determine device and dtype; the arguments `device` and `dtype` exist because every layer has them.
    """

    def __init__(
        self,
        *,
        dropout: float = 0.0,
        causal: bool = False,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        check_flags("MultiHeadAttention", causal=causal)
        parameter_options("MultiHeadAttention", device, dtype)
        self.causal = causal
        self.dropout = Dropout(dropout)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """(result, probs) of shapes (B, heads, T_q, D_v) and (B, heads, T_q, T_k).

        q is (B, heads, T_q, D), k (B, heads, T_k, D) and v (B, heads, T_k, D_v). Raises ShapeError for other shapes,
        and if there are more causal queries than keys, as the first query would see no key.
        """
        self._check(q, k, v)
        queries, keys = q.shape[2], k.shape[2]
        scores = ops.matmul(q * (1 / math.sqrt(q.shape[3])), ops.transpose(k))
        if self.causal:
            # A recorded program has a mask of its own: what is kept elsewhere is neither its input nor its result.
            make_mask = causal_mask if recorder() is None else causal_mask.__wrapped__
            scores = scores + make_mask(queries, keys, scores.device, scores.dtype)
        probs = self.dropout(ops.softmax(scores))
        return ops.matmul(probs, v), probs

    def _check(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        for name, value in zip("qkv", (q, k, v)):
            check_tensor(self, name, value)
        fit = q.ndim == v.ndim == 4 and q.shape[:2] == v.shape[:2] and k.shape == (*v.shape[:3], q.shape[3])
        if not fit or 0 in q.shape + v.shape:
            expected = "(B, heads, T_q, D), (B, heads, T_k, D) and (B, heads, T_k, D_v), no extent 0"
        elif self.causal and q.shape[2] > k.shape[2]:
            expected = "no more causal queries than keys, as the first would see no key"
        else:
            return
        raise ShapeError(f"{self}: q {q.shape}, k {k.shape}, v {v.shape}: expected {expected}")


class AttentionLayer(Module):
    """Multi-head attention between linear projections; each input is normalized first (pre-norm, Xiong et al. 2020):

        Q = prenorm_q(q) W_q, K = prenorm_k(k) W_k, V = prenorm_v(v) W_v, out = concatenated heads(Q, K, V) W_out

    The projections have no bias. The weights of {q,k,v}_projection are ({q,k,v}_features, num_head * dim_head), that of
    out_projection is (num_head * dim_head, out_features). Features that are None default to q_features. The caller adds
    the residual connection.
    """

    def __init__(
        self,
        q_features: int,
        num_head: int,
        dim_head: int,
        *,
        k_features: int | None = None,
        v_features: int | None = None,
        out_features: int | None = None,
        dropout: float = 0.0,
        causal: bool = True,
        device: Device | None = None,
        dtype: str | DType = "float32",
    ) -> None:
        k_features, v_features, out_features = (
            q_features if features is None else features for features in (k_features, v_features, out_features)
        )
        check_counts("AttentionLayer", q_features=q_features, num_head=num_head, dim_head=dim_head)
        check_counts("AttentionLayer", k_features=k_features, v_features=v_features, out_features=out_features)
        self.q_features = q_features
        self.k_features = k_features
        self.v_features = v_features
        self.out_features = out_features
        self.num_head = num_head
        self.dim_head = dim_head
        options = parameter_options("AttentionLayer", device, dtype)
        self.prenorm_q = LayerNorm1d(q_features, **options)
        self.prenorm_k = LayerNorm1d(k_features, **options)
        self.prenorm_v = LayerNorm1d(v_features, **options)
        inner = num_head * dim_head
        self.q_projection = Linear(q_features, inner, bias=False, **options)
        self.k_projection = Linear(k_features, inner, bias=False, **options)
        self.v_projection = Linear(v_features, inner, bias=False, **options)
        self.attn = MultiHeadAttention(dropout=dropout, causal=causal, **options)
        self.out_projection = Linear(inner, out_features, bias=False, **options)

    def forward(self, q: Tensor, k: Tensor | None = None, v: Tensor | None = None) -> Tensor:
        """(B, T_q, out_features) from q (B, T_q, q_features), k (B, T_k, k_features) and v (B, T_k, v_features).

        k and v default to q, which gives self-attention. Raises ShapeError for other shapes.
        """
        k, v = q if k is None else k, q if v is None else v
        self._check(q, k, v)
        heads = (
            self._heads(self.q_projection(self.prenorm_q(q))),
            self._heads(self.k_projection(self.prenorm_k(k))),
            self._heads(self.v_projection(self.prenorm_v(v))),
        )
        result, _ = self.attn(*heads)
        return self.out_projection(ops.transpose(result, (1, 2)).reshape((*q.shape[:2], -1)))

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, num_head * dim_head) as (B, num_head, T, dim_head), a view."""
        return ops.transpose(x.reshape((*x.shape[:2], self.num_head, self.dim_head)), (1, 2))

    def _check(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        for name, value in zip("qkv", (q, k, v)):
            check_tensor("AttentionLayer", name, value)
        features = (self.q_features, self.k_features, self.v_features)
        fit = all(x.ndim == 3 and x.shape[2] == extent for x, extent in zip((q, k, v), features))
        if not fit or k.shape[:2] != v.shape[:2] or q.shape[0] != k.shape[0] or 0 in q.shape + k.shape:
            shapes = f"(B, T_q, {features[0]}), (B, T_k, {features[1]}) and (B, T_k, {features[2]}), no extent 0"
            raise ShapeError(f"AttentionLayer: q {q.shape}, k {k.shape}, v {v.shape}: expected {shapes}")
