"""An image is built where Docker's disk fills, by an engine of the test's own with its images on a small disk."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from stages import records
from tests import daemon, real_engine
from tests.mounts import mounting
from tests.project import make_project

pytestmark = [pytest.mark.engine, pytest.mark.own_engine]

MIB = 2**20
FREE_BYTES = 4 * MIB  # less than a virtual environment takes
BUILD_AND_BUILD_AGAIN = """
mount -t tmpfs -o size=1500m tmpfs small
dockerd --host $DOCKER_HOST --data-root $PWD/small --exec-root $SOCKETS/exec --pidfile $PWD/pid --bridge=none \
    --iptables=false >dockerd.log 2>&1 &
trap 'kill $!; wait $!' EXIT
for _ in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.3; done
docker load <base.tar
head -c $(($(stat --file-system --format='%a * %S' small) - {free})) /dev/zero >small/filler
code=0; {python} -m stages.image bare >first.out 2>first.err || code=$?
echo $code >first.code
stat --file-system --format='%a %S' small >free
docker ps --all --quiet >containers
docker images --quiet --filter reference='faceoff/*' >images
rm small/filler
{python} -m stages.image bare
"""


def test_a_build_that_finds_no_room_gives_it_back_and_the_next_one_goes_on(tmp_path: Path) -> None:
    daemon.can_start()
    engine = real_engine.connect()
    base = real_engine.base(engine)
    project = make_project(tmp_path, ["host"])
    (project / "docker/bare").mkdir()
    (project / "docker/bare/none.txt").write_text("# nothing\n")
    build = {"base": base, "packages": "docker/bare/none.txt", "torch": "docker/bare/none.txt"}
    (project / "docker/bare/image.yaml").write_text(yaml.safe_dump({"build": build, "expects": {"python": "3"}}))
    (project / "small").mkdir()
    subprocess.run(["docker", "save", "--output", project / "base.tar", base], check=True)
    script = BUILD_AND_BUILD_AGAIN.format(free=FREE_BYTES, python=sys.executable)
    with tempfile.TemporaryDirectory() as sockets:  # whose paths must be short
        done = mounting(script, project, DOCKER_HOST=f"unix://{sockets}/docker.sock", SOCKETS=sockets)
    assert done.returncode == 0, done.stdout + done.stderr + (project / "dockerd.log").read_text()[-3000:]
    assert (project / "first.code").read_text() == "1\n"
    assert (project / "first.err").read_text() == (
        "faceoff: image bare was not built: the disk that holds Docker's images is full; make room, e.g. with "
        "docker system prune\n"
    )
    assert (project / "containers").read_text() == (project / "images").read_text() == ""
    blocks, block_bytes = map(int, (project / "free").read_text().split())
    assert blocks * block_bytes > FREE_BYTES - MIB // 2
    assert json.loads((project / records.image_path("bare")).read_text())["reference"].startswith("faceoff/bare:")
