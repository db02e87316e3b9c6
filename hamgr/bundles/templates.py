"""Renders the templates of a component: Jinja2, sandboxed, strict, and the same on every replica.

1. A variable that is not there is an error, never an empty text; so is printing a null, a list or a mapping.
2. Equal input gives equal bytes: nothing random, no clock, no addresses of objects, keys in sorted order.
3. A template sees the files of its own component (for include and import) and nothing else.
4. Output is bounded, and so are the operators that could make a large value from a short text.
"""

import re
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

import jinja2
import jinja2.exceptions
import jinja2.meta
import jinja2.sandbox

from hamgr.bundles.problems import RenderError
from hamgr.bundles.shell import quote
from statemachine.words import Value

SOURCE_BYTES_MAX = 128 * 1024
OUTPUT_BYTES_MAX = 1024 * 1024
NUMBER_BITS_MAX = 4096
RESERVED = frozenset({"node", "facts", "component", "vars"})
"""Names that a template finds beside the variables, so that no variable may have them."""
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")

_OBJECT_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}>")
_FAULTS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
    SyntaxError,
)


def is_template(text: str) -> bool:
    return "{{" in text or "{%" in text or "{#" in text


def plain(value: Value) -> Value:
    """Return `value` with the keys of its mappings sorted, so that iteration is the same everywhere."""
    if isinstance(value, Mapping):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def syntax_problem(source: str) -> tuple[int, str] | None:
    """Return the line and the sentence of the first thing that is wrong in a template's text, if any."""
    if len(source.encode()) > SOURCE_BYTES_MAX:
        return 1, f"has more than {SOURCE_BYTES_MAX} bytes"
    try:
        _plain_environment.parse(source)
        # Unknown filters and tests are found when code is made, not when the text is parsed.
        _plain_environment.compile(source)
    except jinja2.TemplateSyntaxError as error:
        return error.lineno, error.message or "cannot be read"
    except RecursionError:
        return 1, "is nested too deeply"
    except (ValueError, OverflowError, MemoryError) as error:
        return 1, str(error) or "cannot be compiled"
    except SyntaxError as error:
        return 1, f"cannot be compiled: {error.msg}"
    return None


def expression_problem(source: str) -> str | None:
    """Return the sentence of the first thing that is wrong in an expression, if any."""
    try:
        _plain_environment.compile_expression(source)
    except jinja2.TemplateSyntaxError as error:
        return (error.message or "cannot be read").replace("'end of template'", "end of the expression")
    except RecursionError:
        return "is nested too deeply"
    except (ValueError, OverflowError, MemoryError, SyntaxError) as error:
        return str(error) or "cannot be compiled"
    return None


def mentioned(source: str) -> set[str]:
    """Return the names of the templates that a sound template includes or imports by a constant name."""
    found = jinja2.meta.find_referenced_templates(_plain_environment.parse(source))
    return {name for name in found if name is not None}


class Templates:
    """The templates of one component; compiled once, rendered for every node."""

    def __init__(self, directory: str, files: Mapping[str, bytes]) -> None:
        """Args:
        directory: Where the component is in the bundle; part of positions only.
        files: Its files, by their name below `directory`.
        """
        self._directory = directory
        self._environment = _Environment(loader=_Loader(directory, files))
        self._texts: dict[tuple[str, str], jinja2.Template] = {}
        self._conditions: dict[str, Callable[..., Any]] = {}

    def file(self, name: str, context: Mapping[str, Any]) -> str:
        """Render the file `name`; raises RenderError."""
        where = f"{self._directory}/{name}"
        try:
            template = self._environment.get_template(name)
        except _FAULTS as error:
            raise RenderError(where, 1, f"cannot be loaded: {error}") from error
        return _rendered(template, context, where)

    def text(self, where: str, source: str, context: Mapping[str, Any]) -> str:
        """Render a text that stands in the file `where`; the error's line is counted inside the text."""
        if not is_template(source):
            return source
        template = self._texts.get((where, source))
        if template is None:
            code = self._environment.compile(source, where, where)
            template = self._environment.template_class.from_code(
                self._environment, code, self._environment.make_globals(None)
            )
            self._texts[where, source] = template
        return _rendered(template, context, where)

    def truth(self, where: str, source: str, context: Mapping[str, Any]) -> bool:
        """Return whether an expression in the file `where` holds; raises RenderError, always on line 1.

        Only true and false are answers: of any other value nobody could say what its author meant.
        """
        try:
            if source not in self._conditions:
                compiled = self._environment.compile_expression(source, undefined_to_none=False)
                self._conditions[source] = compiled
            value = self._conditions[source](context)
            bool(value)  # a name that is not there says so
        except _FAULTS as error:
            raise RenderError(where, 1, str(error) or type(error).__name__) from error
        if isinstance(value, bool):
            return value
        kind = {str: "a text", int: "a number", float: "a number"}.get(type(value), "something else")
        message = f"is neither true nor false but {kind}; compare it, as in `facts.cpus > 1`"
        raise RenderError(where, 1, message)


def _rendered(template: jinja2.Template, context: Mapping[str, Any], where: str) -> str:
    parts: list[str] = []
    size_bytes = 0
    try:
        for part in template.generate(context):
            parts.append(part)
            size_bytes += len(part.encode())
            if size_bytes > OUTPUT_BYTES_MAX:
                raise RenderError(where, 1, f"renders to more than {OUTPUT_BYTES_MAX} bytes")
    except _FAULTS as error:
        file, line = _position(error, where)
        message = error.message if isinstance(error, jinja2.TemplateError) else str(error)
        raise RenderError(file, line, message or type(error).__name__) from error
    text = "".join(parts)
    if _OBJECT_ADDRESS.search(text):
        raise RenderError(where, 1, "prints an object instead of a value; is a pair of parentheses missing?")
    return text


def _position(error: BaseException, where: str) -> tuple[str, int]:
    """Find the innermost line of a template in the traceback, which Jinja2 has rewritten for that."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return error.filename or where, error.lineno
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if file == where or file.startswith("components/"):
            return file, line
    return where, 1


class _Loader(jinja2.BaseLoader):
    """Finds the files of the component, and names them as in the bundle."""

    def __init__(self, directory: str, files: Mapping[str, bytes]) -> None:
        self._directory = directory
        self._files = files

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, None]:
        del environment
        data = self._files.get(template)
        if data is None:
            raise jinja2.TemplateNotFound(template, f"there is no file `{template}` in {self._directory}")
        return data.decode(), f"{self._directory}/{template}", None


class _Environment(jinja2.sandbox.SandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, loader: jinja2.BaseLoader | None = None) -> None:
        super().__init__(
            loader=loader,
            undefined=jinja2.StrictUndefined,
            finalize=_printable,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,  # as many as the bundle has, which is bounded
        )
        for name in ("lipsum", "cycler", "joiner"):
            del self.globals[name]
        for name in ("random", "center"):
            del self.filters[name]
        self.filters["quote"] = lambda value: quote(str(value))

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse what would make a huge value from a short expression."""
        if operator == "%" and isinstance(left, str):
            raise jinja2.exceptions.SecurityError("`%` on a text is not allowed; use `~` to join texts")
        if (operator == "*" and _too_large_product(left, right)) or (
            operator == "**" and _too_large_power(left, right)
        ):
            raise jinja2.exceptions.SecurityError(f"`{operator}` would make a value that is too large")
        return super().call_binop(context, operator, left, right)


def _too_large_product(left: Any, right: Any) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() + right.bit_length() > NUMBER_BITS_MAX
    for value, times in ((left, right), (right, left)):
        if isinstance(times, int) and hasattr(value, "__len__"):
            return len(value) * times > OUTPUT_BYTES_MAX
    return False


def _too_large_power(left: Any, right: Any) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() * abs(right) > NUMBER_BITS_MAX
    return False


def _printable(value: Any) -> Any:
    """Refuse to print what a configuration file hardly means (rule 1)."""
    if value is None:
        raise jinja2.TemplateRuntimeError("a value is null; give it a value, or use `| default('', true)`")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | Mapping):
        raise jinja2.TemplateRuntimeError(
            "a list or mapping cannot be printed; use `| join(' ')` or `| tojson`"
        )
    return value


_plain_environment: Final = _Environment()
