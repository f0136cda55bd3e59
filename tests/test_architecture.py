"""Who may import whom: the rules of the architecture, read from the code's own import statements."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAPPED = {"facexfer": "facexfer", "backbones": "facexfer.backbones", "eval": "facexfer.eval"}
# Room -> the rooms that it may import; below, the first of them stand. Files at the top are rooms of their own.
MAY = {
    "errors": set(),
    "registry": {"errors"},
    "heads": {"errors", "registry"},
    "files": {"errors", "registry"},
    "validation": {"registry"},
    "plugins": {"errors"},
    "recipe": {"errors", "registry", "files", "plugins", "validation", "recipes"},
    "runtime": {"errors", "recipe"},
    "recipes": set(),
    "grids": set(),
    "transfer": {"errors", "registry", "validation"},
    "data": {"errors", "registry", "files"},
    "eval": {"errors", "registry", "files"},
    "backbones": {"errors", "registry", "files"},
    "networks": {"errors", "data", "transfer", "backbones"},
    "runs": {"errors", "plugins", "recipe", "heads", "files", "data", "backbones"},
    "tasks": {"errors", "registry", "recipe", "files", "networks", "runs", "data", "eval", "backbones"},
    "engine": {"errors", "plugins", "recipe", "runtime", "heads", "files", "tasks", "runs", "networks", "transfer",
               "data", "eval", "backbones"},
    "measure": {"errors", "recipe", "runtime", "files", "runs", "data", "eval", "backbones"},
    "deploy": {"errors", "registry", "recipe", "runtime", "files", "measure", "runs", "networks", "data", "eval",
               "backbones"},
    "advice": {"errors", "recipe", "files", "deploy", "tasks", "runs", "transfer", "data", "backbones"},
    "comparison": {"errors", "registry", "plugins", "recipe", "validation", "files", "grids", "heads", "transfer",
                   "runs", "tasks", "measure", "data", "eval"},
}  # fmt: skip
# Only these know the pages and pictures, and the rooms that everything else is below.
ON_TOP = {"reports": {"commands"}, "commands": {"cli", "commands"}, "cli": {"__main__"}}
# Inside eval: the report knows the metrics, the metrics know the pairs, and never the other way round.
EVAL_ORDER = {"eval/pairwise": ["facexfer.eval.report"], "eval": ["facexfer.eval.report"]}
# Folder or file -> which other packages it must never import.
NEVER = {
    "facexfer/transfer": ["cv2", "onnx", "onnxruntime", "torchvision"],
    "facexfer/registry.py": ["torch"],
    "facexfer/errors.py": ["torch"],
}
# The only places of eval/ that may know torch.
TORCH_IN_EVAL = {"eval/collect.py", "eval/scores.py",
                 *(f"eval/pairwise/{name}.py" for name in ("inputs", "pairs", "cuts", "brackets", "between",
                                                           "between_on_gpu", "ranks"))}  # fmt: skip
# What backbones may import of facexfer besides themselves.
BACKBONES_MAY = {"facexfer.backbones", "facexfer.registry", "facexfer.errors", "facexfer.files"}


def imports_of(file: Path):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import; write it absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def modules() -> dict[str, Path]:
    """Every module of the package: name -> file."""
    found = {}
    for place, package in MAPPED.items():
        for file in files_of(place):
            parts = [part for part in file.relative_to(ROOT / place).with_suffix("").parts if part != "__init__"]
            found[".".join([package, *parts])] = file
    return found


def own_imports(name: str, known):
    """The modules of the package that one of them imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(known[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and within(node.module, "facexfer"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else node.module


def room_of(name: str) -> str:
    return name.split(".")[1] if "." in name else "facexfer"


def arrows() -> list[tuple[str, str]]:
    known = modules()
    return [(name, other) for name in known for other in own_imports(name, known)]


def test_every_room_imports_only_what_it_may() -> None:
    found = [
        f"{name} imports {other}"
        for name, other in arrows()
        if room_of(name) in MAY and room_of(other) not in MAY[room_of(name)] | {room_of(name)}
    ]
    assert found == []


def test_every_room_has_its_rule() -> None:
    rooms = {room_of(name) for name in modules()}
    assert rooms == MAY.keys() | ON_TOP.keys() | {"facexfer", "__main__"}


@pytest.mark.parametrize("room", ON_TOP)
def test_only_few_know_what_is_on_top(room: str) -> None:
    found = [
        f"{name} imports {other}"
        for name, other in arrows()
        if room_of(other) == room and room_of(name) not in ON_TOP[room] | {room}
    ]
    assert found == []


def test_the_folders_form_no_circle() -> None:
    """Counted by folder: two folders whose files import each other are a circle, even where no two files do."""
    known = modules()
    graph: dict[str, set[str]] = {}
    for name, other in arrows():
        first, second = (folder_of(each, known) for each in (name, other))
        if first != second:
            graph.setdefault(first, set()).add(second)
    assert len(graph) > 20
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) >= len(graph)


def folder_of(name: str, known: dict[str, Path]) -> str:
    """The folder of a module; the files at the top of facexfer count each for itself."""
    package = name if known[name].name == "__init__.py" else name.rpartition(".")[0]
    return name if package == "facexfer" else package


@pytest.mark.parametrize("place", EVAL_ORDER)
def test_inside_eval_the_report_is_on_top_and_the_pairs_are_below(place: str) -> None:
    files = [file for file in files_of(place) if "report" not in file.relative_to(ROOT).parts]
    higher = [*EVAL_ORDER[place], *(["facexfer.eval"] if place == "eval/pairwise" else [])]
    found = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imports_of(file)
        if any(within(name, each) for each in higher) and not within(name, "facexfer.eval.pairwise")
    ]
    assert files
    assert found == []


def test_no_module_is_named_in_a_string() -> None:
    """What starts a process starts ``python -m facexfer``, so that a module that moves is found by its imports."""
    named = re.compile(r"(from|import) +facexfer|^facexfer(\.\w+)+$")
    found = []
    for place in (*MAPPED, "tools"):
        for file in files_of(place):
            tree = ast.parse(file.read_text())
            prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            found += [
                f"{file.relative_to(ROOT)}:{node.lineno}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
                if named.search(node.value)
            ]
    assert found == []


@pytest.mark.parametrize("place", NEVER)
def test_forbidden_imports(place: str) -> None:
    files = files_of(place)
    assert files
    found = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imports_of(file)
        for forbidden in NEVER[place]
        if within(name, forbidden)
    ]
    assert found == []


def test_metrics_never_know_torch() -> None:
    found = [
        f"{file.name} imports {name}"
        for file in files_of("eval")
        if file.relative_to(ROOT).as_posix() not in TORCH_IN_EVAL
        for name in imports_of(file)
        if within(name, "torch")
    ]
    assert found == []


def test_backbones_know_nothing_of_the_rest() -> None:
    found = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files_of("backbones")
        for name in imports_of(file)
        if within(name, "facexfer") and name != "facexfer" and not any(within(name, each) for each in BACKBONES_MAY)
    ]
    assert found == []


def test_a_method_never_imports_another_method() -> None:
    methods = ROOT / "facexfer" / "transfer" / "methods"
    found = [
        f"{file.name} imports {name}"
        for file in methods.glob("*.py")
        if file.name != "__init__.py"
        for name in imports_of(file)
        if within(name, "facexfer.transfer.methods")
    ]
    assert found == []


def test_nothing_imports_a_bare_backbones_or_eval() -> None:
    found = [
        f"{file.relative_to(ROOT)} imports {name}"
        for place in ("facexfer", "backbones", "eval", "tools", "tests")
        for file in files_of(place)
        for name in imports_of(file)
        if within(name, "backbones") or within(name, "eval")
    ]
    assert found == []


def test_weights_are_never_loaded_with_pickle_code() -> None:
    for place in ("facexfer", "backbones", "eval", "tools", "tests"):
        for file in files_of(place):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                    safe = [keyword for keyword in node.keywords if keyword.arg == "weights_only"]
                    assert safe, f"{file}:{node.lineno}: torch.load without weights_only"
                    assert ast.unparse(safe[0].value) == "True", f"{file}:{node.lineno}"
