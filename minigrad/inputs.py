"""What a command does with its --data: pictures as its options ask for them, the same folder again at --resume, batches of --batch.

    train, test = (inputs.labelled(o, train=t, size=o.size) for t in (True, False))
    loader = inputs.batches(train, o.batch, rng=streams["data"])

A folder may have pictures that cannot be read. With --skip-broken they are left out, and it is said which. Of a folder,
config.json gets the number of pictures, of those left out, and a digest of names and sizes; a run is resumed with the same pictures
or not at all.

Imports: data, kinds, records.
"""

from __future__ import annotations

import os

from minigrad.data import DataLoader, Dataset, Pair, load_images, load_labelled, load_pair
from minigrad.kinds import RunError
from minigrad.records import unsealed

__all__ = ["batches", "images", "labelled", "pair", "side"]

NAMED = 10  # pictures left out, in a message


def images(o, name: str | None = None, **options) -> Dataset:
    """`data.load_images` of --data (or of `name`) by the options --download and --skip-broken; options: train, size, limit.

    RunError where a run is resumed and its folder has changed."""
    return _told(o, load_images(name or o.data, **_allowed(o), **options), _part(options))


def labelled(o, name: str | None = None, **options) -> Dataset:
    """`images` with labels, as a classifier needs them."""
    return _told(o, load_labelled(name or o.data, **_allowed(o), **options), _part(options))


def pair(o, **options) -> Pair:
    """`data.load_pair` of --data by the same options, each side told and kept as `images` does."""
    found = load_pair(o.data, **_allowed(o), **options)
    for one, letter in zip(found, "ab", strict=True):
        _told(o, one, f"{_part(options)} {letter}")
    return found


def side(o, name: str, letter: str, **options) -> Dataset:
    """`images` of a source that is one side, "a" or "b", of a pair whose sides are named each by itself."""
    return _told(o, load_images(name, **_allowed(o), **options), f"{_part(options)} {letter}")


def batches(dataset, size: int, rng, *, option: str = "--batch", value_range=(-1.0, 1.0)) -> DataLoader:
    """Whole batches in a new order every epoch, for training. ValueError in the option's own words where there are too few rows."""
    if len(dataset) < size:
        what = "pictures" if getattr(dataset, "is_images", False) else "rows"
        raise ValueError(f"{option} {size}: {getattr(dataset, 'name', 'the data')} has {len(dataset)} {what} to train on; use "
                         f"{option} {len(dataset)} or fewer, or give more {what}")
    return DataLoader(dataset, size, shuffle=True, drop_last=True, rng=rng, value_range=value_range)


def _allowed(o) -> dict:
    return {"download": getattr(o, "download", False), "skip_broken": getattr(o, "skip_broken", False)}


def _part(options: dict) -> str:
    return "train" if options.get("train", True) else "test"


def _told(o, found: Dataset, part: str) -> Dataset:
    """Says which pictures were left out, and keeps in o.folder (which start() writes to config.json) what the folder holds."""
    if found.listing is None:
        return found
    if found.skipped:
        more = f" and {len(found.skipped) - NAMED} more" if len(found.skipped) > NAMED else ""
        print(f"{found.source}: {len(found.skipped)} of {len(found) + len(found.skipped)} pictures cannot be read and are left "
              f"out: {', '.join(found.skipped[:NAMED])}{more}", flush=True)
    now = {"pictures": len(found), "left_out": len(found.skipped), "digest": found.listing}
    was = _recorded(o).get(part, now)
    if was != now:
        raise RunError(o.resume, f"{found.source} has changed since the run began: {was.get('pictures')} pictures and "
                       f"{was.get('left_out')} left out then, {now['pictures']} and {now['left_out']} now, or other files. Put it "
                       "back as it was, or start a new run")
    o.folder = {**(getattr(o, "folder", None) or {}), part: now}
    return found


def _recorded(o) -> dict:
    """What config.json of the run that is resumed says of its folder."""
    if not getattr(o, "resume", None):
        return {}
    found = unsealed(os.path.join(o.resume, "config.json"))[0].get("folder")
    return {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}
