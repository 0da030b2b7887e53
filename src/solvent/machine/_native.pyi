from typing import Any

import numpy as np
from numpy.typing import NDArray

def cpu_features() -> tuple[str, ...]: ...
def feature_words() -> tuple[str, ...]: ...
def kernel_names() -> tuple[str, ...]: ...
def read_bandwidth(n_bytes: int, n_threads: int = 1, n_passes: int = 5) -> float: ...

class Matrix:
    n_bytes: int
    is_copy: bool
    is_packed: bool
    def __init__(
        self,
        type: str,
        n_rows: int,
        n_cols: int,
        data: NDArray[np.uint8],
        scale: float = 1.0,
        per_token: bool = False,
        source: tuple[int, int] | None = None,
        n_threads: int = 1,
        lazy: bool = False,
    ) -> None: ...
    def rounded(self, bits: int, n_threads: int = 1) -> Matrix: ...
    def multiply(
        self, x: NDArray[np.float32], kernels: str, n_together: int = 1, n_passes: int = 1
    ) -> NDArray[np.float32]: ...

class Sequence:
    n_tokens: int
    context: int
    def truncate(self, n_tokens: int) -> None: ...

class Decoder:
    n_rescored: int
    screen_bytes: int
    def __init__(self, config: dict[str, Any], kernels: str, n_threads: int) -> None: ...
    def set_layer(self, index: int, parts: dict[str, Matrix | NDArray[np.float32]]) -> None: ...
    def set_ends(
        self,
        parts: dict[str, Matrix | NDArray[np.float32]],
        rope_frequency: NDArray[np.float64],
        screened: bool,
    ) -> None: ...
    def new_sequence(self, context: int) -> Sequence: ...
    def extend(self, sequence: Sequence, tokens: NDArray[np.int32], n_logits: int) -> NDArray[np.float32]: ...
    def decode(self, sequences: list[Sequence], tokens: NDArray[np.int32]) -> NDArray[np.float32]: ...
    def greedy(self, sequence: Sequence, tokens: NDArray[np.int32]) -> int: ...
