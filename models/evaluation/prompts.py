"""Whether the text that steered a generator gave the true label away.

Owns that check. Knows nothing of generators.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from models.evaluation.checks import N_PERMUTATIONS, Check, Verdict, judged, missing

_WORD = re.compile(r"[^\W_]+", re.UNICODE)


def label_in_prompt(
    prompts: Sequence[str], labels: Sequence[str], answers: Sequence[str] = (), *, seed: int = 0
) -> Check:
    """Look for each item's true label in its text prompt.

    Parameters
    ----------
    prompts, labels : sequence of str
        One an item.
    answers : sequence of str
        The decoder's own answer, one an item; a prompt may hold it. Empty: unknown.

    Notes
    -----
    An answer in the prompt is decoded, not leaked, so that items whose answer is the label tell
    nothing. The others' prompts, without their answers' words, must hold their label no oftener
    than prompts dealt out anew.
    """
    name = "label in the prompt"
    if not any(prompts):
        return missing(name, "no text prompt was used, or none was kept.")
    rows = [k for k in range(len(labels)) if not answers or _words(answers[k]) != _words(labels[k])]
    if not rows:
        return missing(name, "each answer was right: a prompt of it gives nothing away.")
    given = [_without(prompts[k], answers[k]) if answers else prompts[k] for k in rows]
    texts, text_of = np.unique(given, return_inverse=True)
    words, word_of = np.unique([labels[k] for k in rows], return_inverse=True)
    holds = np.array([[_holds(text, word) for word in words] for text in texts])
    share = float(holds[text_of, word_of].mean())
    rng = np.random.default_rng([seed, 73])
    dealt = np.array(
        [holds[text_of, rng.permutation(word_of)].mean() for _ in range(N_PERMUTATIONS)]
    )
    p_value = (1 + int((dealt >= share - 1e-12).sum())) / (1 + N_PERMUTATIONS)
    # Where all labels are the same word, no deal can tell; the word itself does.
    always = share == 1.0 and float(dealt.mean()) == 1.0
    verdict = Verdict.LEAK if always else judged(p_value)
    which = "whose answer was wrong " if answers else ""
    return Check(
        name,
        verdict,
        f"the true label stands in {share:.1%} of the prompts of the {len(rows)} items {which}"
        f"({dealt.mean():.1%} by chance, p = {p_value:.3g}).",
        p_value,
        {"share": share, "chance": float(dealt.mean())},
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.casefold() for word in _WORD.findall(text))


def _without(prompt: str, answer: str) -> str:
    """The prompt's words without those of the answer, where they follow each other."""
    text, gone = _words(prompt), _words(answer)
    n = len(gone)
    for k in range(len(text) - n + 1):
        if n and text[k : k + n] == gone:
            text = (*text[:k], *text[k + n :])
            break
    return " ".join(text)


def _holds(prompt: str, label: str) -> bool:
    """Whether the label's words follow each other in the prompt, a plural s aside."""
    text, wanted = (tuple(word.rstrip("s") for word in _words(each)) for each in (prompt, label))
    n = len(wanted)
    return n > 0 and any(text[k : k + n] == wanted for k in range(len(text) - n + 1))
