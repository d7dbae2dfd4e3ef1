"""The zoo, judged: ``python tests/zoo.py`` certifies right and wrong implementations and diagnoses
the wrong ones.

Beside it stands PyTorch's gradcheck, where torch is installed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, too

import convdense as cd
from convdense.display.tables import aligned
from convdense.geometry import Pool
from tests.zoo_members import RIGHT, WRONG, Member, answers, differing


class Judged(NamedTuple):
    """What became of one member.

    The layers on which it differs, those refused, and what was said of each quantity.
    """

    member: Member
    differs: int
    refused: int
    missed: int  # layers on which it differs and is certified all the same
    sentences: dict[str, str]  # quantity -> the mistake named, or ""


def judge(member: Member) -> Judged:
    """Certify a member on all its layers, and diagnose what is wrong with it."""
    differs = refused = missed = 0
    sentences: dict[str, str] = {}
    for layer in member.layers:
        wrong = differing(member, layer)
        held = not is_refused(member, layer)
        differs, refused, missed = (
            differs + bool(wrong),
            refused + (not held),
            missed + (held and bool(wrong)),
        )
        if wrong and member.wrong_in:
            for explanation in cd.diagnose(layer, member.make(layer), seed=0).explanations:
                sentences[explanation.name] = (
                    sentences.get(explanation.name) or explanation.sentence
                )
    return Judged(member, differs, refused, missed, sentences)


def is_refused(member: Member, layer: object) -> bool:
    """Whether a member is refused on one layer.

    What raises is; what is right normwise or in fewer bits is not.
    """
    try:
        return cd.certify(layer, member.make(layer), method=method(layer)).refuted
    except Exception:
        return True


def method(layer: object) -> str:
    """Return the method of a few calls: slow loops are members too."""
    return "auto" if isinstance(layer, Pool) else "random"


def named(judged: Judged) -> bool:
    """Whether a mistake was named in at least one of the quantities that are wrong."""
    return any(judged.sentences.get(name) for name in judged.member.wrong_in)


def by_gradcheck(member: Member, fast: bool) -> bool | None:
    """Whether gradcheck accepts a member on all its layers; None without torch."""
    try:
        import torch
    except ImportError:
        return None

    def accepted(layer: object) -> bool:
        mine, rng = member.make(layer), np.random.default_rng(0)

        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *operands):
                ctx.save_for_backward(*operands)
                return torch.from_numpy(
                    np.ascontiguousarray(mine.forward(*(o.detach().numpy() for o in operands)))
                )

            @staticmethod
            def backward(ctx, dy):
                operands = [o.detach().numpy() for o in ctx.saved_tensors]
                gradients = mine.backward(*operands[:2], dy.numpy())
                gradients = gradients if isinstance(gradients, tuple) else (gradients,)
                return tuple(torch.from_numpy(np.ascontiguousarray(g)) for g in gradients)

        shapes = [(2, *layer.in_shape)]
        shapes += [] if isinstance(layer, Pool) else [layer.weight_shape, layer.bias_shape]
        operands = [torch.from_numpy(rng.normal(size=s)).requires_grad_() for s in shapes]
        try:
            return bool(
                torch.autograd.gradcheck(
                    Function.apply, operands, fast_mode=fast, raise_exception=False
                )
            )
        except Exception:
            return False

    return all(map(accepted, member.layers))


def judged(members: tuple[Member, ...]) -> Iterator[Judged]:
    yield from (
        judge(member)
        for member in tqdm(members, desc="zoo", file=sys.stderr, disable=None, leave=False)
    )


def main() -> int:
    right, wrong = list(judged(tuple(RIGHT))), list(judged(tuple(WRONG)))
    rows = []
    for j in wrong:
        said = "; ".join(f"{name}: {sentence or '?'}" for name, sentence in j.sentences.items())
        verdicts = (by_gradcheck(j.member, fast) for fast in (True, False))
        torch = ["-" if v is None else "passed" if v else "refused" for v in verdicts]
        rows.append(
            [
                j.member.name,
                f"{j.refused} of {j.differs}",
                "yes" if named(j) else "NO",
                *torch,
                said[:150],
            ]
        )
    print(
        aligned(
            ["wrong", "refused", "named", "gradcheck fast", "gradcheck slow", "diagnosis"], rows
        )
    )
    missed, count = (
        [j.member.name for j in wrong if j.missed or not j.refused],
        sum(map(named, wrong)),
    )
    blamed = [j.member.name for j in right if j.refused]
    for column, word in ((3, "fast"), (4, "slow")):
        print(
            f"gradcheck ({word}) lets {sum(row[column] == 'passed' for row in rows)} of "
            f"{len(wrong)} pass"
        )
    print(
        f"{len(wrong) - len(missed)} of {len(wrong)} wrong refused wherever they differ; "
        f"missed: {missed or 'none'}"
    )
    print(
        f"{count} named ({count / len(wrong):.0%}); {len(right)} right: blamed: {blamed or 'none'}"
    )
    return int(bool(missed or blamed or count < 0.9 * len(wrong)))


__all__ = ["answers", "judge", "main", "named"]

if __name__ == "__main__":
    sys.exit(main())
