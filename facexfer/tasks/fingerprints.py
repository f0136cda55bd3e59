"""What a run comes from, as fingerprints: its pictures, and the file of its source's weights."""

from facexfer.backbones.sources import find_weights, weights_digest
from facexfer.recipe import Recipe, SourceSection
from facexfer.tasks import TASKS


def run_fingerprints(recipe: Recipe) -> dict[str, str]:
    """Identify all that a recipe reads, by part; a run's ``data.json`` holds the same.

    Raises:
        InputError: If something is missing or damaged.
    """
    return TASKS[recipe.task].fingerprints(recipe) | source_fingerprint(recipe.source)


def source_fingerprint(settings: SourceSection) -> dict[str, str]:
    """Identify the weights that a run starts from; nothing where they are random.

    Raises:
        InputError: If the file has no form of weights, or one that belongs to it is missing.
    """
    if settings.weights is None:
        return {}
    file = find_weights(str(settings.weights))
    return {"the source network": weights_digest(file)} if file.is_file() else {}
