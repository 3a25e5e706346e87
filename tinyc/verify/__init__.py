"""Is the C right? The generated code in an emulator against the interpreter and, where installed, ai-edge-litert."""

from tinyc.verify.verify import Divergence, VerifyResult, verify

__all__ = ["Divergence", "VerifyResult", "verify"]
