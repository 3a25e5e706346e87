"""IR as text: parsing, printing, and the xDSL context that knows tinyc's dialects."""

from __future__ import annotations

import io
import re
from typing import IO

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.dialects.func import Func
from xdsl.parser import Parser, ParserState
from xdsl.printer import Printer
from xdsl.utils.exceptions import AlreadyRegisteredConstructException, ParseError, VerifyException
from xdsl.utils.lexer import Input
from xdsl.utils.mlir_lexer import MLIRLexer, MLIRTokenKind, StringLiteral

from tinyc.errors import ModelError, PluginError
from tinyc.ir.mcu import MCU
from tinyc.ir.nn import NN
from tinyc.plugins import describe, listed


def make_context(context: Context | None = None) -> Context:
    """`context`, or a new one, with the dialects `builtin`, `func`, `nn` and `mcu`, and those of plug-ins. Raises PluginError."""
    context = context if context is not None else Context()
    for dialect in (Builtin, Func, NN, MCU):
        context.load_dialect(dialect)
    for addition in listed("dialects"):
        try:
            context.load_dialect(addition.load())
        except (ValueError, AttributeError, AlreadyRegisteredConstructException) as error:
            raise PluginError(f"plug-in {addition.plugin}: dialect {addition.where} cannot be loaded: {describe(error)}") from error
    return context


class IRPrinter(Printer):
    """xDSL's printer with one switch: whether weights are printed in full (base64) or as digests."""

    def __init__(self, stream: IO[str], print_weights: bool) -> None:
        super().__init__(stream=stream)
        self.print_weights = print_weights


class IRLexer(MLIRLexer):
    """xDSL's lexer, except that a string literal without an end is found in linear time: xDSL's pattern takes exponential time."""

    _unescaped_characters_regex = re.compile(r'"[^"\\\n\v\f]*(?:\\(?:["nt\\]|[0-9A-Fa-f]{2})[^"\\\n\v\f]*)*"')


class IRParser(Parser):
    """xDSL's parser, except that a string literal with escaped UTF-8 is a string, as it was when it was printed, and not a row of bytes."""

    def __init__(self, context: Context, text: str, name: str) -> None:
        super().__init__(context, "", name)
        self._parser_state = ParserState(IRLexer(Input(text, name)))

    def parse_optional_str_literal(self) -> str | None:
        """The next token as a string if it is a string literal. Raises ParseError where its bytes are not UTF-8."""
        token = self._parse_optional_token(MLIRTokenKind.BYTES_LIT)
        if token is None:
            return super().parse_optional_str_literal()
        try:
            return StringLiteral.from_span(token.span).bytes_contents.decode("utf-8")
        except UnicodeDecodeError:
            self.raise_error("the string is not UTF-8", token.span.start, token.span.end)


def print_module(module: ModuleOp, print_weights: bool = False) -> str:
    """`module` as text that `parse_module` reads back to an equal module; weights are left out unless `print_weights`."""
    stream = io.StringIO()
    IRPrinter(stream, print_weights).print_op(module)
    return stream.getvalue() + "\n"


def parse_module(text: str, name: str = "<text>") -> ModuleOp:
    """Reads and verifies a module. Raises ModelError with the place of a syntax error, or what does not verify."""
    try:
        module = IRParser(make_context(), text, name).parse_module()
        module.verify()
    except ParseError as error:
        raise ModelError(f"{name}: {error}") from error
    except VerifyException as error:
        raise ModelError(f"{name}: {error}") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # What xDSL raises on some damaged texts instead of a ParseError.
        raise ModelError(f"{name}: cannot be read as IR ({type(error).__name__}: {error})") from error
    return module
