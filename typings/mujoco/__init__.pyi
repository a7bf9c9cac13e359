# MuJoCo's names live in compiled modules that pyright cannot read.
from typing import Any

def __getattr__(name: str) -> Any: ...
