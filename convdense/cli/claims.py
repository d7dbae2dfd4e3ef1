"""`certify --claims`: the table of claims, judged here, and with --all every geometry of a small scope."""

import json
import sys
from math import isfinite
from typing import Any

from convdense.claims.claims import CLAIMS, Verdict, judge_claims
from convdense.cli.demo import claims_table
from convdense.cli.exit_status import FAILED, HELD


def run_claims(as_json: bool, swept: bool) -> int:
    """Print the table of claims, judged on this machine; `swept`: then every geometry of the small scope."""
    from tqdm import tqdm  # noqa: PLC0415  (only where there is something to wait for)

    from convdense.sweeps._sweep import sweep  # noqa: PLC0415  (it imports multiprocessing)

    bar = tqdm(CLAIMS, desc="claims", file=sys.stderr, disable=None, leave=False)
    verdicts = list(judge_claims(bar))
    if not as_json:
        print(claims_table(verdicts), flush=True)
    small = sweep() if swept else None
    plain = [_plain(v) for v in verdicts]
    if as_json:
        print(json.dumps(plain if small is None else {"claims": plain, "sweep": small.to_dict()}))
    elif small is not None:
        print(f"\n{small}")
    return HELD if all(v.held for v in verdicts) and (small is None or small) else FAILED


def _plain(verdict: Verdict) -> dict[str, Any]:
    claim = verdict.claim
    evidence = [
        {
            "layer": repr(e.layer),
            "exact": e.exact,
            "error": e.error,
            "trials": e.trials,
            **{
                n: v if isfinite(v) else repr(v)
                for n, v in (("difference", e.difference), ("bound", e.bound))
            },
        }
        for e in verdict.evidence
    ]
    facts = {
        "id": claim.id,
        "sentence": claim.sentence,
        "compared": claim.compared,
        "held": verdict.held,
    }
    return {**facts, "exact": verdict.exact, "sure": verdict.sure, "layers": evidence}
