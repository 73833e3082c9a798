"""The config's part about Kubernetes: where steps and trials run, and on what. On one machine nothing of it counts."""

from __future__ import annotations

from dataclasses import dataclass

from receipt_counter import IMAGE
from receipt_counter.config.keys import key

_NAME = (r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", "a name as Kubernetes writes them, such as receipt-counter")
_QUANTITY = (r"\d+(\.\d+)?(m|k|Ki|[MGTP]i?)?", "a quantity as Kubernetes writes them, such as 500m, 2 or 64Gi")
_LABEL = (r"[\w./-]+=[\w.-]*", "LABEL=VALUE, such as cloud.google.com/gke-spot=true")
_TAINT = (
    r"[\w./-]+(=[\w.-]*)?:(NoSchedule|PreferNoSchedule|NoExecute)",
    "a taint as kubectl writes them, such as spot=true:NoSchedule",
)
_IMAGE = (
    # [HOST[:PORT]/]NAME, then a tag, a digest or both (the reference grammar of distribution/distribution)
    r"([a-zA-Z0-9.-]+(:\d+)?/)?[a-z0-9]+(([._/]|__|-+)[a-z0-9]+)*"
    r"(:(?!latest$)[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})",
    "an image with a tag other than latest or with a digest, such as registry.example/team/receipt-counter:1.0",
)


@dataclass(frozen=True)
class Cluster:
    """Where and on what steps and trials run on Kubernetes; a machine without a cluster reads none of it."""

    namespace: str = key("receipt-counter", "Namespace of everything.", pattern=_NAME)
    image: str = key(IMAGE, "Image of the steps that need no GPU.", pattern=_IMAGE)
    training_image: str | None = key(
        None, "Image of training with GPUs; null: `image`, its tag ending in -gpu.", pattern=_IMAGE
    )
    nodes: int = key(1, "Machines that train a run together; above 1 a run is a TrainJob.", minimum=1, maximum=64)
    gpus: int = key(1, "GPUs of each of them.", minimum=0, maximum=64)
    gpu_type: str | None = key(None, "Label nvidia.com/gpu.product of the nodes that train; null: any.")
    cpu: str = key("8", "Processors of a training machine.", pattern=_QUANTITY)
    memory: str = key("64Gi", "Memory of a training machine.", pattern=_QUANTITY)
    step_cpu: str = key("2", "Processors of every other step.", pattern=_QUANTITY)
    step_memory: str = key("8Gi", "Memory of every other step.", pattern=_QUANTITY)
    node_selector: tuple[str, ...] = key((), "Labels of the nodes that train.", pattern=_LABEL)
    tolerations: tuple[str, ...] = key((), "Taints of nodes that training tolerates beside GPUs'.", pattern=_TAINT)
    retries: int = key(0, "How often a failed trial or step is tried again.", minimum=0, maximum=20)
    store: str = key("/experiments", "Where runs live: a directory, the volume's, or s3://BUCKET/PREFIX.")
    volume: str = key("receipt-counter-store", "PersistentVolumeClaim that holds the directory.", pattern=_NAME)
    credentials: str = key("receipt-counter-store", "Secret with the keys of an object store.", pattern=_NAME)
    service_account: str = key("receipt-counter-trial", "ServiceAccount of trials; it needs no rights.", pattern=_NAME)
    priority_class: str | None = key(None, "PriorityClass of training; null: the cluster's default.")
    queue: str | None = key(None, "Kueue's LocalQueue that admits training; null: no queue.")

    @property
    def image_of_training(self) -> str:
        """The image that a run is trained in; the config is refused where `image` has a digest, which is no other's."""
        if self.training_image is not None:
            return self.training_image
        return f"{self.image}-gpu" if self.gpus else self.image

    @property
    def is_on_volume(self) -> bool:
        """Whether runs live on a volume, not in an object store."""
        return self.store.startswith("/")
