"""What a file or folder is: weights of any origin, a run, or a bundle."""

from dataclasses import replace
from pathlib import Path

from facexfer.backbones.identify import FileFacts, identify
from facexfer.deploy.contract import CONTRACT, MODEL, read_contract
from facexfer.errors import InputError
from facexfer.recipe import read_recipe
from facexfer.runs.folder import RunFolder
from facexfer.runs.state import STATE_FORMAT, load_state


def inspect_path(path: Path) -> FileFacts:
    """Read what is known of weights, wherever they are, without running any code of them.

    Args:
        path: A file of weights, a run folder, a checkpoint in one, a bundle or its ``model.json``.

    Returns:
        The facts; of a folder those of its model, with what the folder is as a remark.

    Raises:
        InputError: If it is neither of these, not finished, or damaged.
    """
    if path.name == CONTRACT and path.is_file():
        path = path.parent
    if (path / CONTRACT).is_file():
        return _of_bundle(path)
    if path.is_dir():
        return _of_run(path)
    facts = identify(path)
    return _of_checkpoint(path, facts) if STATE_FORMAT in facts.remark else facts


def _of_bundle(folder: Path) -> FileFacts:
    contract = read_contract(folder)
    facts = identify(folder / MODEL)
    far = contract.far
    decides = "without a threshold" if far is None else f"decides at FAR {far:g} by {contract.thresholds[far]:.4f}"
    remark = f"a bundle, {contract.content.get('precision', 'of unknown precision')}, {decides}"
    if facts.network is None and "recipe" in contract.content:
        # The graph of a quantised network is nobody's; the bundle says what it was made of.
        network = str(contract.content["recipe"]["source"]["backbone"])
        flip = "adds the embedding of the mirrored image" if contract.flip else ""
        size = contract.content.get("embedding_size")
        facts = replace(facts, network=network, embedding_size=size, parameters=None, remark=flip)
    return replace(
        facts,
        licence=str(contract.content.get("licence", facts.licence)),
        origin=str(contract.content.get("source", "")) or facts.origin or "random weights",
        remark="; ".join(each for each in (remark, facts.remark) if each),
    )


def _of_run(folder: Path) -> FileFacts:
    run = RunFolder(folder)
    if not run.recipe_file.is_file():
        raise InputError(
            f"{folder}: expected a file of weights, a run folder or a bundle, got another folder; name a file in it"
        )
    if not run.model_file.is_file():
        raise InputError(
            f"{folder}: expected a finished run with {run.model_file.name}, found none; finish it with --resume, or "
            "name a checkpoint in it"
        )
    recipe = read_recipe(run.recipe_file)
    facts = identify(run.model_file)
    state = f"failed: {run.failure}" if run.failure else "finished" if run.finished else "not finished"
    remark = f"a run of {recipe.method.name} on {recipe.source.backbone}, {state}"
    return replace(facts, remark="; ".join(each for each in (remark, facts.remark) if each))


def _of_checkpoint(path: Path, facts: FileFacts) -> FileFacts:
    known = load_state(path).get("facts") or {}
    return replace(facts, licence=known.get("licence", ""), origin=known.get("source", ""))
