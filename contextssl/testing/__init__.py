"""Conformance kits for third-party test suites: `check_method` and `check_adapter`, and a toy domain to try them on.

Each failure is an AssertionError whose one sentence names the contract that is broken.
"""

from contextssl.testing.adapter_checks import ADAPTER_CHECKS, AdapterCase, check_adapter
from contextssl.testing.method_checks import METHOD_CHECKS, MethodCase, check_method
from contextssl.testing.toy import TinyEncoder, ToyAdapter

__all__ = [
    "ADAPTER_CHECKS", "METHOD_CHECKS", "AdapterCase", "MethodCase", "TinyEncoder", "ToyAdapter", "check_adapter", "check_method",
]  # fmt: skip
