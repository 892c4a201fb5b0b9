"""Python runs this before any program: with FACEOFF_OBSERVE set, torch is observed once it is imported.

It runs in every Python of the job, also in those that train nothing: it parses in any version, imports nothing that
is not loaded already, takes its folder off sys.path again and runs the sitecustomize that it hides.
"""
# Not pathlib, not contextlib: they would have to be imported. Python 2 reads this too.
# ruff: noqa: PTH100, PTH120, UP004, SIM105

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = {"torch.autograd", "torch.optim.optimizer", "torch.utils.data.dataloader"}


class Finder(object):
    """Has the loader that the other finders know for a target tell when the module is there; finds nothing itself."""

    asking = False

    def find_spec(self, name, path=None, target=None):
        """Return what the others find."""
        if self.asking or not (name in TARGETS or (name.endswith(".optimizer") and "torch" in sys.modules)):
            return None
        self.asking = True
        try:
            for finder in list(sys.meta_path):
                spec = finder.find_spec(name, path, target) if hasattr(finder, "find_spec") else None
                if spec is not None:
                    tell(spec.loader)
                    return spec
        finally:
            self.asking = False


def tell(loader):
    """Observe the module as soon as it was run. The loader keeps its type, and then its own exec_module."""

    def exec_module(module):
        vars(loader).pop("exec_module", None)
        loader.exec_module(module)
        observe(module)

    try:
        loader.exec_module = exec_module
    except AttributeError:  # takes no attribute
        pass


def observe(module):
    """Put hooks into the module. Whatever happens here, the program goes on."""
    TARGETS.discard(module.__name__)
    try:
        sys.path.insert(0, HERE)
        try:
            from faceoff_observer import hooks
        finally:
            sys.path.remove(HERE)
        hooks.hook(module)
    except Exception as error:
        sys.stderr.write("faceoff: {} is not observed: {!r}\n".format(module.__name__, error))


def chain():
    """Run the sitecustomize that this one hides, as if this one were not there."""
    mine = sys.modules.pop("sitecustomize", None)
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = mine


if os.environ.get("FACEOFF_OBSERVE") and sys.version_info >= (3, 6):
    sys.meta_path.insert(0, Finder())
    for target in TARGETS & set(sys.modules):  # a .pth file was faster
        observe(sys.modules[target])
chain()
