"""Steps in the project's image on this machine, as on a cluster: what `run --backend docker` asks of the engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_counter import IMAGE, IMAGE_VARIABLE
from receipt_counter.config.schema import Config
from receipt_counter.errors import UserError
from receipt_counter.progress import ENVIRONMENT_VARIABLE
from receipt_counter.storage.store import Store
from receipt_counter.storage.versions import code_version

_VERSION_INSIDE = "from receipt_counter.storage.versions import code_version; print(code_version())"


@dataclass(frozen=True)
class Containers:
    """How each step's container is made.

    Args:
        image: holds this project, this very code.
        user: id of the user that steps run as, never root.
        group: id of its group.
        store: directory the steps read and write.
        read: directories the steps read.
    """

    image: str
    user: int
    group: int
    store: Path
    read: Sequence[Path]

    def own(self, directory: Path) -> Path:
        """Make a directory, if it is absent, that the steps can write in."""
        directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(directory, self.user, self.group)
        return directory

    def run_arguments(self, scratch: Path, environment: Mapping[str, str]) -> dict[str, Any]:
        """Arguments of kfp's DockerRunner, which hands them to the engine's API.

        Args:
            scratch: directory in which steps report their progress.
            environment: this process's; what steps need of it is passed on.
        """
        passed = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", IMAGE_VARIABLE, ENVIRONMENT_VARIABLE)
        places = [(self.store, False), (self.own(scratch), False), *((path, True) for path in self.read)]
        return {
            "user": f"{self.user}:{self.group}",
            "environment": {name: environment[name] for name in passed if name in environment},
            "mounts": [
                {"Type": "bind", "Source": str(path), "Target": str(path), "ReadOnly": read_only}
                for path, read_only in places
            ],
            "working_dir": str(Path.cwd()),  # relative names mean the same as here
            "read_only": True,
            "tmpfs": {"/tmp": "mode=1777"},
            "shm_size": "1g",  # the engine's 64 MB are too little for the processes that load data
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            # A step reports its process id, by which it is asked to stop, and watches whom it dies with.
            "pid_mode": "host",
        }


def containers(store: Store, config: Config) -> Containers:
    """What the engine must be asked, once it is known to be there and to have the image.

    Steps run as whoever the store belongs to: all that they leave there is then the user's.

    Args:
        store: where the steps' runs live; made if absent.
        config: names the other directories that steps read.

    Raises:
        UserError: no engine, no image, an image of other code, a store that belongs to root, or one of objects.
    """
    if sys.platform != "linux":
        raise UserError("--backend docker: only on Linux so far; use --backend local")
    remote = [place for place in (store.location, config.data.path or "") if "://" in place]
    if remote:
        raise UserError(f"--backend docker: {remote[0]}: only directories are mounted so far; use --backend local")
    image = _required_image(os.environ.get(IMAGE_VARIABLE, IMAGE))
    store.root.mkdir(parents=True, exist_ok=True)
    owner = store.root.stat()
    if owner.st_uid == 0:
        raise UserError(
            f"--store {store.root}: it belongs to root, and steps in containers never run as root; "
            f"give it to somebody (chown 1000 {store.root}) or choose another"
        )
    named = (config.data.path, config.model.checkpoint)
    read = [Path(name).absolute() for name in named if name and Path(name).is_dir()]
    return Containers(image, owner.st_uid, owner.st_gid, store.root, read)


def _required_image(image: str) -> str:
    """The engine answers, and its image holds the code that runs here: else its steps would be another version's.

    Returns:
        The image's name as kfp's runner finds it.
    """
    try:
        import docker
        from docker.errors import DockerException, ImageNotFound
    except ImportError:
        raise UserError(
            "--backend docker: Python's package docker is not installed; "
            "install this project with its extra `local`: pip install '.[local]'"
        ) from None
    try:
        engine = docker.from_env()
        found = engine.images.get(image)
        inside = engine.containers.run(image, ["python", "-c", _VERSION_INSIDE], remove=True, network_disabled=True)
    except ImageNotFound:
        raise UserError(
            f"{image}: this machine has no such image; `make images TARGET=cpu` builds it, "
            f"{IMAGE_VARIABLE} names another, `docker pull` fetches one of a registry"
        ) from None
    except DockerException as error:
        raise UserError(f"--backend docker: the container engine cannot be used: {error}", status=1) from None
    version = inside.decode().strip()
    if version != code_version():
        raise UserError(
            f"{image}: this image holds other code ({version}) than this command ({code_version()}); "
            "`make images TARGET=cpu` builds it anew"
        )
    return listed_name(image, [*found.tags, *found.attrs["RepoDigests"]])


def listed_name(image: str, names: Sequence[str]) -> str:
    """The name by which the engine lists an image: kfp's runner pulls what it does not find there, letter by letter.

    Args:
        image: as the user names it, perhaps by tag and digest at once, or with the name of the engine's own registry.
        names: all that the engine has for it: tags, and digests without tags.
    """
    digest = image.rpartition("@")[2]
    return next((name for name in names if name == image or name.endswith(f"@{digest}")), image)
