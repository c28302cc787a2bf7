"""The CRF beside sums and maxima over all paths, written out."""

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from fastrnn.train.models.crf import LinearChainCRF, bio_rules

LENGTHS = torch.tensor([3, 5, 1, 4])  # unsorted
BIO = ("O", "B-NP", "I-NP", "B-VP", "I-VP")


def crf(tags: int = 3, *, rules: bool = False) -> LinearChainCRF:
    made = LinearChainCRF(tags, *(bio_rules(BIO[:tags]) if rules else ())).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def emissions(tags: int = 3) -> Tensor:
    return torch.randn(5, len(LENGTHS), tags, dtype=torch.float64)


def every_path(model: LinearChainCRF, emission: Tensor, rules: bool) -> dict[tuple[int, ...], float]:
    """The score of each path over one sequence's emissions (n, K); of those that BIO allows, if there are rules."""
    scores = {}
    for path in product(range(emission.shape[1]), repeat=len(emission)):
        names = ["O", *(BIO[tag] for tag in path)]
        if rules and any(b[0] == "I" and a[2:] != b[2:] for a, b in pairwise(names)):
            continue
        score = model.start[path[0]] + model.end[path[-1]] + sum(emission[t, tag] for t, tag in enumerate(path))
        score = score + sum(model.transition[a, b] for a, b in pairwise(path))
        scores[path] = float(score.detach())
    return scores


@pytest.mark.parametrize(("tags", "rules"), [(1, False), (3, False), (5, True)])
def test_log_partition_viterbi_and_probability_are_those_over_all_paths(tags: int, rules: bool) -> None:
    model, scores = crf(tags, rules=rules), emissions(tags)
    partition, (paths, highest) = model.log_partition(scores, LENGTHS), model.best(scores, LENGTHS)
    for b, n in enumerate(LENGTHS.tolist()):
        all_paths = every_path(model, scores[:n, b], rules)
        values = torch.tensor(list(all_paths.values()), dtype=torch.float64)
        torch.testing.assert_close(partition[b], values.logsumexp(0))
        best = max(all_paths, key=all_paths.__getitem__)
        assert tuple(paths[:n, b].tolist()) == best
        assert paths[n:, b].tolist() == [-100] * (5 - n)
        torch.testing.assert_close(float(highest[b]), all_paths[best])
        torch.testing.assert_close(model(scores, paths, LENGTHS)[b], all_paths[best] - values.logsumexp(0))


def test_without_lengths_all_steps_count() -> None:
    model, scores = crf(), emissions()
    whole = torch.full_like(LENGTHS, 5)
    tags = torch.randint(3, (5, 4))
    torch.testing.assert_close(model(scores, tags), model(scores, tags, whole), rtol=0, atol=0)
    assert torch.equal(model.best(scores)[0], model.best(scores, whole)[0])


@pytest.mark.parametrize("rules", [False, True])
def test_gradients(rules: bool) -> None:
    model, scores = crf(5, rules=rules), emissions(5).requires_grad_()
    tags = model.best(emissions(5), LENGTHS)[0]
    parameters = [scores, *model.parameters()]

    def probability(scores: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(dict(model.named_parameters()), parameters, strict=True))
        return torch.func.functional_call(model, named, (scores, tags, LENGTHS))

    assert torch.autograd.gradcheck(probability, parameters)


def test_padding_never_changes_anything() -> None:
    model, scores = crf(), emissions()
    tags = torch.randint(3, (5, 4))
    padded, other = scores.clone(), tags.clone()
    for b, n in enumerate(LENGTHS.tolist()):
        padded[n:, b], other[n:, b] = float("nan"), -100
    padded.requires_grad_()
    likelihood = model(padded, other, LENGTHS)
    torch.testing.assert_close(likelihood, model(scores, tags, LENGTHS), rtol=0, atol=0)
    assert torch.equal(model.best(padded, LENGTHS)[0], model.best(scores, LENGTHS)[0])
    likelihood.sum().backward()
    for b, n in enumerate(LENGTHS.tolist()):
        assert not padded.grad[n:, b].any()
        assert padded.grad[:n, b].any()


def test_forbidden_steps_are_never_taken_however_probable() -> None:
    model = crf(5, rules=True)
    scores = emissions(5)
    scores[:, :, 4] += 50  # I-VP everywhere
    for b, n in enumerate(LENGTHS.tolist()):
        names = ["O", *(BIO[tag] for tag in model.best(scores, LENGTHS)[0][:n, b])]
        assert not any(after[0] == "I" and after[2:] != before[2:] for before, after in pairwise(names))
    scores.requires_grad_()
    model.log_partition(scores, LENGTHS).sum().backward()
    assert not any(parameter.grad.isnan().any() for parameter in (scores, model.start, model.transition))


def test_what_the_rules_of_bio_allow() -> None:
    allowed, first = bio_rules(BIO)
    assert first.tolist() == [True, True, False, True, False]
    assert [[BIO[j] for j in range(5) if allowed[i, j]] for i in range(5)] == [
        ["O", "B-NP", "B-VP"],
        ["O", "B-NP", "I-NP", "B-VP"],
        ["O", "B-NP", "I-NP", "B-VP"],
        ["O", "B-NP", "B-VP", "I-VP"],
        ["O", "B-NP", "B-VP", "I-VP"],
    ]


def test_narrow_emissions_are_summed_in_the_width_of_the_weights() -> None:
    """As under autocast: 2000 steps of a score that bfloat16 rounds are no reason to lose the sum."""
    model = LinearChainCRF(2)
    scores = torch.full((2000, 1, 2), 1.0).bfloat16()
    tags = torch.zeros(2000, 1, dtype=torch.int64)
    torch.testing.assert_close(model(scores, tags), model(scores.float(), tags), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("tags", "lengths", "said"),
    [
        ([[0], [4]], [2], "sequence 0 goes from tag 0 to tag 4 at step 1, which the rules of the CRF forbid"),
        ([[2], [0]], [2], "sequence 0 begins with tag 2, which the rules of the CRF forbid"),
        ([[1], [-100]], [2], "sequence 0 has the tag -100 at step 1"),
        ([[1], [5]], [2], "sequence 0 has the tag 5 at step 1"),
        ([[1], [0]], [3], "expected 1 lengths from 1 to 2, got [3]"),
        ([[1], [0]], [0], "expected 1 lengths from 1 to 2, got [0]"),
    ],
)
def test_what_cannot_be_scored_is_an_error(tags: list[list[int]], lengths: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("[", r"\[")):
        crf(5, rules=True)(torch.zeros(2, 1, 5, dtype=torch.float64), torch.tensor(tags), torch.tensor(lengths))
