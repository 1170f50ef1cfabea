"""The cache command: list, verify and prune."""

import time

from agm_torch.cache.entries import Entry, entries, verify
from agm_torch.cache.pruning import prune, remove_damaged
from agm_torch.command_line import Cache

_GIGABYTE = 10**9
_DAMAGED = 1


def cache_command(command: Cache) -> int:
    """Run `python -m agm_torch cache`. Returns 1 if `verify` found damage, else 0."""
    if not command.cache.is_dir():
        raise FileNotFoundError(f"cache {command.cache} is not a folder")
    match command.action:
        case "list":
            return _list(command)
        case "verify":
            return _verify(command)
        case "prune":
            return _prune(command)


def _list(command: Cache) -> int:
    found = entries(command.cache)
    for entry in found:
        print(_line(entry))
    total = sum(entry.size for entry in found) / _GIGABYTE
    print(f"{len(found)} folders, {total:.3f} GB in {command.cache}")
    return 0


def _verify(command: Cache) -> int:
    found = verify(command.cache)
    damaged = [name for name, reason in found.items() if reason]
    for name, reason in found.items():
        print(f"{name}  {reason or 'whole'}")
    if command.remove_damaged:
        remove_damaged(command.cache, damaged)
        print(f"removed {len(damaged)}")
        return 0
    return _DAMAGED if damaged else 0


def _prune(command: Cache) -> int:
    if not command.limit_gb >= 0:
        raise ValueError(f"limit_gb must be 0 or more, got {command.limit_gb}")
    limit = int(command.limit_gb * _GIGABYTE)
    removed = prune(command.cache, max_bytes=limit, dry_run=command.dry_run)
    for entry in removed:
        print(_line(entry))
    freed = sum(entry.size for entry in removed) / _GIGABYTE
    verb = "would remove" if command.dry_run else "removed"
    print(f"{verb} {len(removed)} folders, {freed:.3f} GB")
    return 0


def _line(entry: Entry) -> str:
    manifest = entry.manifest or {}
    days = (time.time() - entry.used) / 86400
    generator = manifest.get("config", {}).get("generator", "-")
    return (
        f"{entry.folder.name:<30} {entry.state:<10} {entry.size / 1e6:9.1f} MB  "
        f"{manifest.get('count', '-'):>6} x {manifest.get('category', '-'):<16} "
        f"{generator:<10} used {days:.1f} days ago"
    )
