"""The devices that share a batch, on one host or on several.

The step is one program over the whole batch, which the compiler splits. So every mean
over the batch, in the losses, the norms and the entropy of the codes, is taken over all
devices before it is used. Every device holds all weights and data.
"""

import contextlib
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lfq_jax.ops.cores import usable_cores

DATA = "data"  # the mesh's only axis
_COUNT_FLAG = "xla_force_host_platform_device_count"


def share_cores(devices: int) -> None:
    """Split the CPU into `devices` jax devices, if jax computes on the CPU.

    Each device has its own threads, so the cores share a batch. The number is limited
    to the number of cores. Call this before jax initialises its devices; later calls
    have no effect, nor do calls when XLA_FLAGS sets the number.
    """
    wanted = min(devices, usable_cores())
    if wanted < 2 or _COUNT_FLAG in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # jax has initialised its devices already
        jax.config.update("jax_num_cpu_devices", wanted)


def make_mesh(devices: int, *, batch_size: int) -> Mesh | None:
    """The mesh of `devices` devices per host; None for one device in total.

    Args:
      devices: devices per host; 0 for all.
      batch_size: images per step, over all devices of all hosts.

    Raises:
      ValueError: if there are fewer devices, or they do not divide the batch.
    """
    here, hosts = jax.local_device_count(), jax.process_count()
    if devices > here or devices < 0:
        raise ValueError(
            f"devices must be in [0, {here}], the number that jax finds, got {devices}"
        )
    chosen = devices or here
    total = chosen * hosts
    if batch_size % total:
        fitting = [n for n in range(1, here + 1) if batch_size % (n * hosts) == 0]
        per_host = f" on each of {hosts} hosts" if hosts > 1 else ""
        choices = ", ".join(map(str, fitting)) or "no number"
        raise ValueError(
            f"batch_size {batch_size} cannot be shared by {chosen} devices{per_host}: "
            f"of the {here} here, {choices} would do, or a multiple of {total} images"
        )
    if total == 1:
        return None
    mesh_devices = [
        device
        for host in range(hosts)
        for device in [d for d in jax.devices() if d.process_index == host][:chosen]
    ]
    return Mesh(np.array(mesh_devices), (DATA,), axis_types=(AxisType.Auto,))


def shared(tree: Any, mesh: Mesh | None) -> Any:
    """The tree with its leading axis split over the devices. For use inside jit."""
    return _constrained(tree, mesh, PartitionSpec(DATA))


def everywhere(tree: Any, mesh: Mesh | None) -> Any:
    """The tree replicated on every device. For use inside jit."""
    return _constrained(tree, mesh, PartitionSpec())


def _constrained(tree: Any, mesh: Mesh | None, spec: PartitionSpec) -> Any:
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, spec))


def place(tree: Any, mesh: Mesh | None) -> Any:
    """Copies of the arrays on every device. Every host must pass equal arrays."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())

    def one(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(one(jax.random.key_data(x)))
        host = np.asarray(x)
        # Every device needs its own copy: the step donates its state.
        return jax.make_array_from_callback(
            host.shape, sharding, lambda index: host[index].copy()
        )

    return jax.tree.map(one, tree)


def local(tree: Any, mesh: Mesh | None) -> Any:
    """This process's copy, on one device, of arrays that are equal on every device."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def is_first_host() -> bool:
    """Whether this process is the first host, which writes the files of a run."""
    return jax.process_index() == 0


def any_host(answer: bool) -> bool:
    """Whether `answer` is true on any host. All hosts must call this."""
    if jax.process_count() == 1:
        return answer
    return bool(multihost_utils.process_allgather(np.array(answer)).any())


def from_first_host(tree: Any) -> Any:
    """The first host's arrays, on all hosts. All must pass arrays of equal shapes."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.broadcast_one_to_all(tree)
