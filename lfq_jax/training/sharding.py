"""Which devices share a batch, on one host or on several.

The step is one program over the whole batch, which the compiler splits: every mean over
the batch, in the losses, the norms and the entropy of the codes, is over all devices
before anything is made of it. Weights and data lie on every device.
"""

import contextlib
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA = "data"  # the mesh's only axis
_COUNT_FLAG = "xla_force_host_platform_device_count"


def share_cores(devices: int) -> None:
    """Make the processor `devices` devices, where it is what jax computes on.

    Each computes in threads of its own, so that the cores share a batch. More devices
    than cores are not made. Before jax is asked for a device; later it does nothing, as
    where XLA_FLAGS says how many there are.
    """
    wanted = min(devices, _cores())
    if wanted < 2 or _COUNT_FLAG in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # jax has its devices already
        jax.config.update("jax_num_cpu_devices", wanted)


def _cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_mesh(devices: int, *, batch_size: int) -> Mesh | None:
    """The mesh of `devices` devices of every host; None for one device in all.

    Args:
      devices: of each host; 0 for all of them.
      batch_size: images a step, over all devices of all hosts.

    Raises:
      ValueError: where there are fewer devices, or the batch does not divide.
    """
    here, hosts = jax.local_device_count(), jax.process_count()
    if devices > here or devices < 0:
        raise ValueError(
            f"devices must be in [0, {here}], what jax finds here, got {devices}"
        )
    chosen = devices or here
    total = chosen * hosts
    if batch_size % total:
        fitting = [n for n in range(1, here + 1) if batch_size % (n * hosts) == 0]
        of_each = f" on each of {hosts} hosts" if hosts > 1 else ""
        choices = ", ".join(map(str, fitting)) or "no number"
        raise ValueError(
            f"batch_size {batch_size} cannot be shared by {chosen} devices{of_each}: "
            f"of the {here} here, {choices} would do, or a multiple of {total} images"
        )
    if total == 1:
        return None
    of_host = [
        device
        for host in range(hosts)
        for device in [d for d in jax.devices() if d.process_index == host][:chosen]
    ]
    return Mesh(np.array(of_host), (DATA,), axis_types=(AxisType.Auto,))


def shared(tree: Any, mesh: Mesh | None) -> Any:
    """Inside jit: split the leading axis over the devices."""
    return _constrained(tree, mesh, PartitionSpec(DATA))


def everywhere(tree: Any, mesh: Mesh | None) -> Any:
    """Inside jit: the same on every device."""
    return _constrained(tree, mesh, PartitionSpec())


def _constrained(tree: Any, mesh: Mesh | None, spec: PartitionSpec) -> Any:
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, spec))


def place(tree: Any, mesh: Mesh | None) -> Any:
    """Copy arrays to every device of the mesh. Every host must hold the same ones."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())

    def one(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(one(jax.random.key_data(x)))
        host = np.asarray(x)
        # a copy each: the step donates its state
        return jax.make_array_from_callback(
            host.shape, sharding, lambda index: host[index].copy()
        )

    return jax.tree.map(one, tree)


def local(tree: Any, mesh: Mesh | None) -> Any:
    """This process's copy of arrays that are the same everywhere, on one device."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def is_first_host() -> bool:
    """Whether this process writes the files of a run."""
    return jax.process_index() == 0


def any_host(answer: bool) -> bool:
    """Whether any host says yes. All hosts must ask."""
    if jax.process_count() == 1:
        return answer
    return bool(multihost_utils.process_allgather(np.array(answer)).any())


def from_first_host(tree: Any) -> Any:
    """The first host's arrays on all hosts, which must hand in the same shapes."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.broadcast_one_to_all(tree)
