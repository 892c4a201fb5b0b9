"""The environment that an image's name stands for: a container or an interpreter."""

from pathlib import Path

from stages.harness.environments import cards
from stages.harness.environments.definition import load
from stages.harness.environments.interpreter import Interpreter
from stages.harness.environments.launch import Environment
from stages.harness.params import jobs
from stages.harness.params.schema import Params


def environment(name: str, params: Params, root: Path) -> Environment:
    """Return an image's environment; what a killed run of this checkout has left in its engine is removed by then.

    Raises FaceoffError, or RecordError for an image.yaml that is not right.
    """
    definition, root = load(name, root).with_env(params.env), root.absolute()

    def find_gpus() -> tuple[str, ...] | None:
        return cards.handed(params, root)

    if not definition.needs_engine:
        return Interpreter(name, definition, root, params.container, find_gpus)
    # Here: the stages of an interpreter need not wait for the import of docker.
    from stages.harness.environments.container import Container
    from stages.harness.environments.docker_engine import DockerEngine

    engine = DockerEngine()
    engine.remove_left_over(root)
    readable = jobs.folders(params.job, jobs.load(params.job, root), root)
    return Container(name, definition, root, params.container, find_gpus, engine, readable)
