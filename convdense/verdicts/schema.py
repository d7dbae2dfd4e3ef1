"""The JSON of verdicts: its schema number, and what older schemas called things.

Schema 1 had no number. Schema 2 (version 0.1) says `evaluator` for `road`, `reference` for `by`,
`tie_break` for a pool's `ties`, and *direct counterpart* for *direct twin*. Schema 3 records the
seed of exhaustive runs, which was 0, what rounding excused, and how many reals were compared.
Schema 4 records in how many rounds channels were contracted, and that a time limit ended it.
"""

from typing import Any

from convdense._util.arguments import complain, is_integer

SCHEMA = 4
# What verdicts on an implementation are judged by since a schema, and were not before.
RULES: dict[int, tuple[str, ...]] = {
    3: (
        "reals were compared in 12 entries, now all",
        "an error probability of 1 could hold, now it is undecided",
        "less was tried beside the numbers",
    ),
    4: ("every number of a large layer was computed, now its channels are contracted",),
}
_KEYS = {"road": "evaluator", "by": "reference"}  # of a certificate or a report
_POOL_KEYS = {"ties": "tie_break"}  # of a layer of type "dense_pool", however deep in a network
_NAMES = {"direct twin": "direct counterpart"}  # of what is judged by
_UNDECIDED = (  # in the note of a finding
    "entries hang on a kink whose side rounding may change",
    "entries pass a non-differentiable point whose branch rounding may flip",
)


def with_schema(data: dict[str, Any]) -> dict[str, Any]:
    """Return what `to_dict` wrote with the number of its schema."""
    return {"schema": SCHEMA, **data}


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Return what any schema wrote in the words of this one, and under which rules.

    Raises
    ------
    ValueError
        For a number that this version does not know.

    Examples
    --------
    >>> upgraded({"kind": "report", "road": "Mine", "by": "direct twin"})
    {'kind': 'report', 'evaluator': 'Mine', 'reference': 'direct counterpart'}
    >>> upgraded({"schema": 2, "kind": "certificate", "method": "exhaustive", "seed": None})
    {'kind': 'certificate', 'method': 'exhaustive', 'seed': 0, 'rules': 2}
    """
    schema = data.get("schema", 1)
    if not is_integer(schema) or not 1 <= schema <= SCHEMA:
        do = "read it with the version that wrote it"
        raise ValueError(complain("schema", repr(schema), f"1 to {SCHEMA}", do))
    values = {name: value for name, value in data.items() if name != "schema"}
    if schema == 1:
        values = {_KEYS.get(name, name): _from_schema_1(value) for name, value in values.items()}
    if schema < SCHEMA and values.get("method") == "exhaustive" and values.get("seed") is None:
        values["seed"] = 0
    if "certificate" in values.get("kind", ""):
        values.setdefault("rules", schema)
    return values


def changed_rules(since: int) -> list[str]:
    """Return what changed in how verdicts on an implementation are come by, after a schema."""
    return [change for schema, changes in RULES.items() if schema > since for change in changes]


def _from_schema_1(value: Any) -> Any:
    """Return a value of schema 1, or all that it holds, in the words of schema 2."""
    if isinstance(value, dict):
        keys = _POOL_KEYS if value.get("type") == "dense_pool" else {}
        return {keys.get(name, name): _from_schema_1(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_from_schema_1(part) for part in value]
    if isinstance(value, str):
        return _NAMES.get(value, value.replace(*_UNDECIDED))
    return value
