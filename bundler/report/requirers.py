"""By which requirements each distribution came in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def chains(parents: Mapping[str, Iterable[str]], starts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return for each name, sorted, a shortest chain from a start down to it.

    Of several the first, in the order of the starts and of the names; the name alone where there is none.

    :param parents: name → what requires it.
    """
    children: dict[str, list[str]] = {}
    for name in sorted(parents):
        for parent in parents[name]:
            children.setdefault(parent, []).append(name)
    found: dict[str, tuple[str, ...]] = {name: (name,) for name in starts}
    frontier = list(found)
    while frontier:
        reached = []
        for parent in frontier:
            for child in children.get(parent, ()):
                if child not in found:
                    found[child] = (*found[parent], child)
                    reached.append(child)
        frontier = reached
    return {name: found.get(name, (name,)) for name in sorted(parents)}
