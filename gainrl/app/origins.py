"""Where the problems and the model of a run came from, for its record."""

from __future__ import annotations

from gainrl.app.components import Components


def origins(components: Components) -> dict[str, str]:
    """Repository and commit of each set of problems and of the model, of those that come from a hub."""
    splits = components.splits
    sets = {"train": splits.train, "held_out": splits.held_out}
    sets |= {f"eval/{one.name}": one.problems for one in components.evaluation_sets}
    found = {name: getattr(problems, "origin", None) for name, problems in sets.items()}
    of_model = getattr(components.model_source, "origin", None)
    found["model"] = of_model() if of_model is not None else None
    return {name: origin for name, origin in found.items() if origin is not None}
