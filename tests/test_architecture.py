"""Who may import whom: the rules of the architecture, read from the code's own import statements."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Folder or file -> what it must never import.
NEVER = {
    "facexfer/transfer": ["facexfer.backbones", "facexfer.eval", "facexfer.data", "facexfer.tasks", "cv2", "onnx",
                          "onnxruntime", "torchvision"],
    "facexfer/transfer/taps.py": ["facexfer.backbones", "facexfer.eval", "facexfer.data", "facexfer.tasks"],
    "facexfer/heads.py": ["facexfer.backbones", "facexfer.eval", "facexfer.data", "facexfer.tasks"],
    "facexfer/data": ["facexfer.backbones", "facexfer.eval", "facexfer.tasks", "facexfer.transfer", "facexfer.deploy"],
    "eval": ["facexfer.transfer", "facexfer.backbones", "facexfer.tasks", "facexfer.data", "facexfer.deploy"],
    "facexfer/registry.py": ["torch"],
    "facexfer/errors.py": ["torch"],
}  # fmt: skip
# The only files of eval/ that may know torch.
TORCH_IN_EVAL = {"pairs.py", "bands.py", "collect.py", "scores.py", "search.py", "embed.py"}
# What backbones may import of facexfer beside themselves.
BACKBONES_MAY = {"facexfer.backbones", "facexfer.registry", "facexfer.errors"}


def imports_of(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import; write it absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(place):
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def within(name, package):
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("place", NEVER)
def test_forbidden_imports(place):
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


def test_metrics_never_know_torch():
    found = [
        f"{file.name} imports {name}"
        for file in files_of("eval")
        if file.name not in TORCH_IN_EVAL
        for name in imports_of(file)
        if within(name, "torch")
    ]
    assert found == []


def test_backbones_know_nothing_of_the_rest():
    found = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files_of("backbones")
        for name in imports_of(file)
        if within(name, "facexfer") and name != "facexfer" and not any(within(name, each) for each in BACKBONES_MAY)
    ]
    assert found == []


def test_a_method_never_imports_another_method():
    methods = ROOT / "facexfer" / "transfer" / "methods"
    found = [
        f"{file.name} imports {name}"
        for file in methods.glob("*.py")
        if file.name != "__init__.py"
        for name in imports_of(file)
        if within(name, "facexfer.transfer.methods")
    ]
    assert found == []


def test_nothing_imports_a_bare_backbones_or_eval():
    found = [
        f"{file.relative_to(ROOT)} imports {name}"
        for place in ("facexfer", "backbones", "eval", "tools", "tests")
        for file in files_of(place)
        for name in imports_of(file)
        if within(name, "backbones") or within(name, "eval")
    ]
    assert found == []


def test_weights_are_never_loaded_with_pickle_code():
    for place in ("facexfer", "backbones", "eval", "tools", "tests"):
        for file in files_of(place):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                    safe = [keyword for keyword in node.keywords if keyword.arg == "weights_only"]
                    assert safe, f"{file}:{node.lineno}: torch.load without weights_only"
                    assert ast.unparse(safe[0].value) == "True", f"{file}:{node.lineno}"
