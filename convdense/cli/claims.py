"""`certify --claims`: the claims of the README judged here, and with --all a sweep.

The sweep is over every geometry of a small scope.
"""

import json
import sys
from math import isfinite
from typing import Any

from convdense.claims.claims import CLAIMS, Verdict, judge_claims
from convdense.claims.evidence import Evidence
from convdense.cli.demo import claims_table
from convdense.cli.exit_status import FAILED, HELD


def run_claims(as_json: bool, swept: bool) -> int:
    """Print the table of claims, judged on this machine, and if `swept` the result of a sweep."""
    from tqdm import tqdm  # noqa: PLC0415  (only where there is something to wait for)

    from convdense.sweeps._sweep import sweep  # noqa: PLC0415  (it imports multiprocessing)

    bar = tqdm(CLAIMS, desc="claims", file=sys.stderr, disable=None, leave=False)
    verdicts = list(judge_claims(bar))
    if not as_json:
        print(claims_table(verdicts), flush=True)  # at once: the sweep takes minutes
    sweep_result = sweep() if swept else None

    if as_json:
        claims = [_verdict_facts(verdict) for verdict in verdicts]
        if sweep_result is None:
            print(json.dumps(claims))
        else:
            print(json.dumps({"claims": claims, "sweep": sweep_result.to_dict()}))
    elif sweep_result is not None:
        print(f"\n{sweep_result}")

    every_claim_held = all(verdict.held for verdict in verdicts)
    every_geometry_held = sweep_result is None or bool(sweep_result)
    return HELD if every_claim_held and every_geometry_held else FAILED


def _verdict_facts(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain data."""
    claim = verdict.claim
    return {
        "id": claim.id,
        "sentence": claim.sentence,
        "compared": claim.compared,
        "held": verdict.held,
        "exact": verdict.exact,
        "sure": verdict.sure,
        "layers": [_evidence_facts(evidence) for evidence in verdict.evidence],
    }


def _evidence_facts(evidence: Evidence) -> dict[str, Any]:
    """Return what one layer says of a claim as plain data; `error` is a probability."""
    return {
        "layer": repr(evidence.layer),
        "exact": evidence.exact,
        "error": evidence.error,
        "trials": evidence.trials,
        "difference": _json_number(evidence.difference),
        "bound": _json_number(evidence.bound),
    }


def _json_number(value: float) -> float | str:
    """Return a number, or "inf" and "nan" in words: JSON has no such numbers."""
    return value if isfinite(value) else repr(value)
