"""`copying.replace` against the one of the standard library, for every class that a state is made of."""

import dataclasses
import typing

import pytest

from statemachine import commands, copying, model, outcomes
from statemachine.outcomes import Accepted

CLASSES = sorted(
    {
        cls
        for module in (model, commands, outcomes)
        for cls in vars(module).values()
        if isinstance(cls, type) and dataclasses.is_dataclass(cls) and len(dataclasses.fields(cls)) > 1
    },
    key=lambda cls: cls.__name__,
)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_copy_is_what_the_standard_library_would_make(cls: type[typing.Any]) -> None:
    names = [field.name for field in dataclasses.fields(cls)]
    value = cls(**{name: f"old {name}" for name in names})
    for name in names:
        expected = dataclasses.replace(value, **{name: "new"})
        assert copying.replace(value, **{name: "new"}) == expected
        assert getattr(value, name) == f"old {name}"
    assert copying.replace(value) == value
    assert copying.replace(value) is not value


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="Accepted has no field 'nonsense'"):
        copying.replace(Accepted(index=1), nonsense=1)


def test_a_class_that_checks_itself_is_refused() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Checked:
        a: int
        b: int

        def __post_init__(self) -> None:
            raise AssertionError

    with pytest.raises(TypeError, match="Checked cannot be copied"):
        copying.replace(object.__new__(Checked), a=1)
