"""Checks of an implementation over the table of geometries: as pytest parameters, or one by one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

from convdense._util.arguments import choice, complain, install
from convdense._util.float_formats import COMPLEX, spelled
from convdense.certificates import certify
from convdense.certificates.certificate_base import ImplementationJudgement, sound
from convdense.geometry import Implementation, Pool
from convdense.testing.assertions import diagnosis
from convdense.testing.case_table import Case, cases
from convdense.verdicts.findings import FORWARD_ALONE, Finding

if TYPE_CHECKING:
    import pytest

Make = Callable[[Any], Implementation]  # of a layer of the table


@dataclass(frozen=True)
class CaseResults:
    """What the checks of one geometry share.

    The implementation is made, certified and diagnosed once, when the first check asks for it.
    """

    make: Make
    case: Case
    dtype: str

    @cached_property
    def implementation(self) -> Implementation:
        """What make returns for this geometry."""
        layer = self.case.layer
        try:
            made: Implementation | None = self.make(layer)
        except NotImplementedError as error:  # unittest and pytest both know a SkipTest
            reason = str(error) or "not implemented"
            raise SkipTest(f"{self.case.name}: {reason}") from None
        if made is None:
            got = f"None from make({layer!r})"
            raise TypeError(complain("make", got, "an implementation", "return it"))
        return made

    @cached_property
    def certificate(self) -> ImplementationJudgement:
        """The verdict on all its quantities."""
        options: dict[str, Any] = {"dtype": self.dtype, "batch": self.case.batch}
        if not isinstance(self.case.layer, Pool):
            options["method"] = "random"  # a few calls, not hundreds: so slow loops are tested too
        return certify(self.case.layer, self.implementation, **options)

    @cached_property
    def diagnosis(self) -> str:
        """The mistakes by name."""
        return diagnosis(self.case.layer, self.implementation, self.dtype)


@dataclass(frozen=True)
class Check:
    """One check: call it, and it raises AssertionError if the implementation does not pass.

    Attributes
    ----------
    name : str
        The case and the quantity, such as "conv-strided-unevenly-dx".
    case : Case
    quantity : {"forward", "dx", "dw", "db", "behaviour"}
        The last is all that a certificate tries beside the numbers: batches of 0 to 9, 16, 33 and
        65, layouts, zeros and other special values, magnitudes, and several calls. What raises on a
        batch or a layout passes, as a restriction.

    Examples
    --------
    >>> from convdense import convolve, convolve_backward
    >>> from functools import partial
    >>> def make(layer):
    ...     return partial(convolve, layer), partial(convolve_backward, layer)
    >>> first = next(conv_checks(make))
    >>> first.name, first.case.layer
    ('conv-plain-forward', Conv((2, 5, 6), out_channels=3, kernel=(2, 3)))
    >>> first()
    """

    name: str
    case: Case
    quantity: str
    results: CaseResults = field(repr=False, compare=False)

    def __call__(self) -> None:
        """Raise AssertionError if this quantity is wrong, SkipTest if it is not implemented."""
        __tracebackhide__ = True  # pytest then shows the line of the test
        certificate = self.results.certificate
        if self.quantity == "behaviour":
            what = "what it does with zeros, batches and strides"
            passes = sound(certificate.behaviour, ())
        else:
            what = self.quantity
            finding = self._finding()
            precise = tuple(p for p in certificate.precision if p.name == finding.name)
            passes = finding.holds and sound((), precise)
        if not passes:
            said = f"{self.name}: {what} is not that of the tied dense layer"
            raise AssertionError(f"{said}\n\n{certificate}\n\n{self.results.diagnosis}")

    def _finding(self) -> Finding:
        wanted = "y" if self.quantity == "forward" else self.quantity
        for finding in self.results.certificate.findings:
            if finding.name == wanted:
                return finding
        alone = self.results.certificate.forward_alone
        why = f"{FORWARD_ALONE} was given" if alone else "db is None"
        raise SkipTest(f"{self.name}: {why}, so there is nothing to judge")


def conv_checks(
    make: Make, *, kinds: str | Sequence[str] = "conv", dtype: object = "float64"
) -> Iterator[Check]:
    """Yield the checks of an implementation over the table of geometries.

    For unittest or a plain loop; for pytest there is `parametrize_with_conv_checks`.

    Parameters
    ----------
    make : function of a layer
        ``make(layer)`` returns the implementation of this geometry (an object with forward and
        backward, two such functions, or forward alone: then the gradients' checks are skipped), or
        raises NotImplementedError for an option it does not have: then its checks are skipped.
    kinds : {"conv", "transposed", "local", "sum", "avg", "max", "min"}, or several of them
        Convolutions alone, unless others are asked for.
    dtype : {"float64", "float32", "complex64", "complex128"}
        What it computes in.

    Yields
    ------
    Check
        A callable with a name: AssertionError where the implementation is wrong, with the mistake
        by name where it is known; unittest.SkipTest where it has no such option.

    Examples
    --------
    >>> from convdense import convolve, convolve_backward
    >>> def make(layer):
    ...     if layer.groups > 1:
    ...         raise NotImplementedError("groups")
    ...     def backward(x, w, dy):
    ...         dx, dw, db = convolve_backward(layer, x, w, dy)
    ...         return dx, dw, db / len(x)
    ...     return (lambda x, w, b: convolve(layer, x, w, b)), backward
    >>> import unittest
    >>> failed, skipped = [], []
    >>> for check in conv_checks(make):
    ...     try:
    ...         check()
    ...     except AssertionError as error:
    ...         failed.append((check.name, str(error).splitlines()[-2]))
    ...     except unittest.SkipTest as reason:
    ...         skipped.append(str(reason))
    >>> failed[0]
    ('conv-plain-db', 'db: the mean over the batch is taken for the sum')
    >>> skipped[0]
    'conv-grouped: groups'
    """
    if not callable(make):
        raise TypeError(
            complain("make", repr(make), "a function of a layer that returns its implementation")
        )
    word = choice(spelled(dtype), "dtype", ("float64", "float32", *COMPLEX))
    table = cases(kinds)  # now, so that a wrong kind is refused at once

    def checks() -> Iterator[Check]:
        for case in table:
            results = CaseResults(make, case, word)
            for quantity in case.quantities:
                yield Check(f"{case.name}-{quantity}", case, quantity, results)

    return checks()


def parametrize_with_conv_checks(
    make: Make,
    *,
    kinds: str | Sequence[str] = "conv",
    dtype: object = "float64",
    expected_failed_checks: Mapping[str, str] | None = None,
) -> "pytest.MarkDecorator":
    """Return a decorator that runs a pytest test once for each check of the table of geometries.

    Parameters
    ----------
    make, kinds, dtype
        As for `conv_checks`.
    expected_failed_checks : dict of name to reason, or None
        These fail, for the reason given: they are marked as strict xfail, so that a test fails once
        one of them passes.

    Returns
    -------
    pytest.MarkDecorator
        The test takes the argument ``check`` and calls it.

    Raises
    ------
    ImportError
        Where pytest is missing.
    ValueError
        For a name that is no check, with those that are spelled like it.

    Examples
    --------
    >>> from convdense import convolve, convolve_backward
    >>> from functools import partial
    >>> def make(layer):
    ...     return partial(convolve, layer), partial(convolve_backward, layer)
    >>> @parametrize_with_conv_checks(make)
    ... def test_mine(check):
    ...     check()
    """
    try:
        import pytest  # noqa: PLC0415  (only those who use it need it)
    except ImportError:
        do = f"{install('test')}, or use conv_checks, which needs none"
        needs = "pytest 8 or newer"
        raise ImportError(complain("pytest", "no module of this name", needs, do)) from None
    checks = {check.name: check for check in conv_checks(make, kinds=kinds, dtype=dtype)}
    expected = {} if expected_failed_checks is None else dict(expected_failed_checks)
    for name, reason in expected.items():
        _check_expected(name, reason, list(checks))

    parameters = []
    for name, check in checks.items():
        marks = []
        if name in expected:
            reason = expected[name]
            marks.append(pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError))
        parameters.append(pytest.param(check, id=name, marks=marks))
    return pytest.mark.parametrize("check", parameters)


def _check_expected(name: str, reason: object, names: list[str]) -> None:
    """Refuse an expected failure that is no check, or has no reason."""
    if name not in names:
        close = ", ".join(map(repr, get_close_matches(str(name), names)))
        do = f"did you mean {close}" if close else "print those of conv_checks"
        needs = "the name of a check of these kinds"
        raise ValueError(complain("expected_failed_checks", repr(name), needs, do))
    if not isinstance(reason, str) or not reason:
        got = f"{reason!r} for {name!r}"
        raise TypeError(complain("expected_failed_checks", got, "a reason, as text"))
