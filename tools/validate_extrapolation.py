"""Does the interval of an extrapolated false accept rate hold the truth? ``python tools/validate_extrapolation.py``.

``populations`` draws people from populations whose false accept rates are known; ``people`` takes embeddings of real
or generated faces and predicts, from some of the people, what all of them measure. Each case is written to
``OUT/extrapolation.json`` when it is done, and left out when it exists already; the table is printed last.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from facexfer.errors import InputError
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.tail.excesses import collect_excesses
from facexfer.eval.tail.extrapolation import Extrapolated, Tail
from facexfer.files.atomic import write_text

FACTORS = (3, 10, 30)
"""How many times below the smallest supported FAR."""
SIZES = ((80, 6), (200, 4))
"""People, and images of each."""
_TRUE_PAIRS = 1.5e9
_AT_ONCE = 12_000
_GROUPS = 20
_LEAST_EXPECTED = 10

app = typer.Typer(add_completion=False, help=__doc__)
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
"""(generator, people) -> their centres (people, 1, D) and what their images' noise is multiplied by, likewise."""


def _spreads(generator: np.random.Generator, people: int, mean: float) -> np.ndarray:
    return mean * np.exp(0.3 * generator.normal(size=(people, 1, 1)))


def even(dimension: int) -> Draw:
    """People in all directions alike."""
    return lambda generator, people: (
        generator.normal(size=(people, 1, dimension)),
        _spreads(generator, people, 1.4) * np.ones(dimension),
    )


def uneven(dimension: int) -> Draw:
    """People who differ in a few directions most of all, and less and less in others: a heavier tail."""
    weights = np.arange(1, dimension + 1) ** -0.5
    return lambda generator, people: (
        weights * generator.normal(size=(people, 1, dimension)),
        _spreads(generator, people, 1.0) * weights,
    )


def grouped(dimension: int, likeness: float) -> Draw:
    """People of twenty groups, who are more alike within a group: a tail that is a mixture."""
    centres = np.random.default_rng(5).normal(size=(_GROUPS, 1, dimension))

    def draw(generator: np.random.Generator, people: int) -> tuple[np.ndarray, np.ndarray]:
        own = generator.normal(size=(people, 1, dimension))
        group = centres[generator.integers(0, _GROUPS, size=people)]
        return (
            math.sqrt(likeness) * group + math.sqrt(1 - likeness) * own,
            _spreads(generator, people, 1.0) * np.ones(dimension),
        )

    return draw


def boxed(dimension: int) -> Draw:
    """People in a box of few dimensions: a lighter tail."""
    return lambda generator, people: (
        generator.uniform(-1, 1, size=(people, 1, dimension)),
        0.5 * np.ones((people, 1, dimension)),
    )


POPULATIONS: dict[str, Draw] = {
    "64 directions alike": even(64),
    "16 directions alike": even(16),
    "64 directions, few matter": uneven(64),
    "20 groups, likeness 0.3": grouped(64, 0.3),
    "20 groups, likeness 0.6": grouped(64, 0.6),
    "a box of 6 dimensions": boxed(6),
}


def sample(draw: Draw, generator: np.random.Generator, people: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (people * images, D) float32 and labels."""
    centres, spreads = draw(generator, people)
    noise = generator.normal(size=(people, images, centres.shape[2]))
    embeddings = (centres + spreads * noise).reshape(people * images, -1)
    return embeddings.astype(np.float32), np.repeat(np.arange(people), images)


def true_rate(draw: Draw, generator: np.random.Generator) -> Callable[[float], float]:
    """The population's false accept rate at a cosine, from 1.5e9 pairs of people with one image each."""
    tops: list[np.ndarray] = []
    pairs, least = 0, -1.0
    while pairs < _TRUE_PAIRS:
        embeddings, _ = sample(draw, generator, _AT_ONCE, 1)
        units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        if not tops:
            least = float(np.sort((units[:4000] @ units[4000:8000].T).ravel())[-1000])
        for start in range(0, _AT_ONCE, 2000):
            cosines = units[start : start + 2000] @ units[start:].T
            cosines[np.tril_indices(2000, 0)] = -1
            tops.append(cosines[cosines > least])
        pairs += _AT_ONCE * (_AT_ONCE - 1) // 2
    found = np.sort(np.concatenate(tops))
    return lambda threshold: max(0.5, float(len(found) - np.searchsorted(found, threshold, side="right"))) / pairs


def judge(found: Extrapolated, truth: Callable[[float], float]) -> dict[str, Any]:
    """What became of one extrapolation."""
    if found.threshold is None or found.far_ci95 is None:
        return {"refused": found.refusal.partition(":")[0].partition(";")[0]}
    rate = truth(found.threshold)
    low, high = found.far_ci95
    return {"holds": low <= rate <= high, "above": rate > high, "ratio": rate / found.far, "reach": high / found.far}


def summarise(name: str, pairs: int, factor: int, judged: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of the table."""
    made = [each for each in judged if "refused" not in each]
    row: dict[str, Any] = {"case": name, "pairs": pairs, "factor": factor, "drawn": len(judged), "made": len(made)}
    if made:
        row["coverage"] = float(np.mean([each["holds"] for each in made]))
        row["above"] = float(np.mean([each["above"] for each in made]))
        row["ratio"] = float(np.median([each["ratio"] for each in made]))
        row["reach"] = float(np.median([each["reach"] for each in made]))
    return row


@app.command()
def populations(
    out: Annotated[Path, typer.Argument(help="A folder.")],
    repeats: Annotated[int, typer.Option(help="Sets of people of each population and size.")] = 300,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 7,
) -> None:
    """Coverage on populations with a known truth."""
    for number, (name, draw) in enumerate(POPULATIONS.items()):
        missing = [size for size in SIZES if not _is_there(out, f"{name}, {size[0]} x {size[1]}")]
        if not missing:
            continue
        truth = true_rate(draw, np.random.default_rng([seed, number]))
        for people, images in missing:
            generator = np.random.default_rng([seed, number, people])
            judged: dict[int, list[dict[str, Any]]] = {factor: [] for factor in FACTORS}
            for _ in range(repeats):
                pairs = PairSet.within(*sample(draw, generator, people, images))
                _extrapolate(pairs, judged, truth)
            case = f"{name}, {people} x {images}"
            _keep(out, [summarise(case, pairs.impostor_pairs, factor, each) for factor, each in judged.items()])
    typer.echo(_table(out))


@app.command("people")
def of_people(
    out: Annotated[Path, typer.Argument(help="A folder.")],
    name: Annotated[str, typer.Option(help="What the table calls it.")],
    embeddings: Annotated[Path, typer.Option(help="(N, D), .npy.")],
    labels: Annotated[Path, typer.Option(help="(N,), .npy.")],
    part: Annotated[int, typer.Option(help="People of each draw.")],
    repeats: Annotated[int, typer.Option(help="Draws.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 7,
) -> None:
    """Predict from some of the people what all of them measure; the truth here is itself a measurement."""
    vectors, names = np.load(embeddings), np.load(labels)
    people = np.unique(names)
    if not 2 <= part < len(people):
        raise InputError(f"expected 2 to {len(people) - 1} people in --part, got {part}; {labels} has {len(people)}")
    if not _is_there(out, name):
        whole = _scores_of_strangers(vectors, names)
        generator = np.random.default_rng(seed)
        judged: dict[int, list[dict[str, Any]]] = {factor: [] for factor in FACTORS}
        for _ in range(repeats):
            chosen = np.isin(names, generator.choice(people, part, replace=False))
            pairs = PairSet.within(vectors[chosen], names[chosen])
            _extrapolate(pairs, judged, lambda at: (len(whole[0]) - np.searchsorted(whole[0], at, "right")) / whole[1])
        rows = [summarise(name, pairs.impostor_pairs, factor, each) for factor, each in judged.items()]
        # Where all of them support no figure either, there is nothing to compare with.
        _keep(out, [row for row in rows if whole[1] / (row["factor"] * row["pairs"]) >= _LEAST_EXPECTED])
    typer.echo(_table(out))


def _extrapolate(pairs: PairSet, judged: dict[int, list[dict[str, Any]]], truth: Callable[[float], float]) -> None:
    tail = Tail(collect_excesses(pairs))
    for factor, each in judged.items():
        (found,) = tail.extrapolate([1 / (factor * pairs.impostor_pairs)])
        each.append(judge(found, truth))


def _scores_of_strangers(vectors: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, int]:
    """The highest hundredth of all impostor scores, ascending, and how many impostor pairs there are."""
    units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    kept, pairs, least = [], 0, -1.0
    for start in range(0, len(units), 1000):
        cosines = units[start : start + 1000] @ units[start:].T
        rows = np.arange(len(cosines))[:, None]
        is_counted = (np.arange(cosines.shape[1])[None, :] > rows) & (
            names[start : start + 1000, None] != names[None, start:]
        )
        found = cosines[is_counted]
        pairs += len(found)
        if start == 0:
            least = float(np.quantile(found, 0.98))
        kept.append(found[found > least])
    return np.sort(np.concatenate(kept)), pairs


def _is_there(out: Path, case: str) -> bool:
    return any(row["case"] == case for row in _rows(out))


def _rows(out: Path) -> list[dict[str, Any]]:
    file = out / "extrapolation.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    return rows


def _keep(out: Path, rows: list[dict[str, Any]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "extrapolation.json", json.dumps([*_rows(out), *rows], indent=1) + "\n")


def _table(out: Path) -> str:
    lines = [
        "| case | impostor pairs | times below | made | coverage, % | above, % | true / claimed | upper / claimed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in _rows(out):
        made = f"{row['made']} of {row['drawn']}"
        head = f"| {row['case']} | {row['pairs']:,} | {row['factor']} | {made} "
        if row["made"]:
            head += (
                f"| {100 * row['coverage']:.1f} | {100 * row['above']:.1f} | {row['ratio']:.2f} | {row['reach']:.1f} |"
            )
        else:
            head += "| - | - | - | - |"
        lines.append(head)
    return "\n".join(lines)


if __name__ == "__main__":
    from facexfer.commands.entry import run_app

    run_app(app)
