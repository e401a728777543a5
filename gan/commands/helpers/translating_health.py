"""The diagnosis of a game of translation, one watch for each way: on the bar, in diagnosis.jsonl, in the report."""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan.commands.helpers.health import COMPARED, Diagnosed
from gan.diagnosis import SEEN, Watch
from nets.generators.draw import in_batches

WAYS = ("ab", "ba")
LEAST = 3  # pictures of each kind, to train on and held out: with fewer nothing is judged
REMEDIES = {  # the options of gan cyclegan
    "too good": "a smaller --patch, a larger --pool, more pictures",
    "vanishing": "a smaller --patch, a lower --rate",
    "exploding": "a lower --rate, a larger --batch",
    "collapse": "a larger --cycle, a larger --identity, a larger --pool, a lower --rate",
    "memorising": "more pictures, a smaller --patch, a smaller --width",
    "checkerboard": "--resize",
    "not finite": "a lower --rate; --resume goes on from the last good checkpoint",
}


class TranslationHealth(Diagnosed):
    """What is wrong with a game of `players` on the Pairs `train` and `test`, way by way; `names` says "brown to striped".

    "ab" is judged by d_b: the translations are what a generator draws elsewhere, and the pictures of b are the real ones. The
    gradient that is watched is that of the adversarial loss at the translation: at the weights the cycle's own would hide a judge
    that teaches nothing any more. "oscillation" is left out, because the mean of a batch of translations follows its pictures.
    A part of a run's checkpoint."""

    def __init__(self, run, players, train, test):
        self.run, self.said = run, ""
        sides = dict(zip(WAYS, ((train.b, test.b), (train.a, test.a)), strict=True))
        self.judges = dict(zip(WAYS, (players.d_b, players.d_a), strict=True))
        self.names = dict(zip(WAYS, (f"{test.a.name} to {test.b.name}", f"{test.b.name} to {test.a.name}"), strict=True))
        self.real = {way: tuple(side.subset(slice(COMPARED)).normalised() for side in both) for way, both in sides.items()}
        enough = min(len(side) for both in self.real.values() for side in both) >= LEAST
        self.watches = {way: Watch(train_side[:SEEN], REMEDIES, boundary=0.5) for way, (train_side, _) in self.real.items()
                        if enough}

    def pulse(self, a, b, moved) -> None:
        """Every few steps, with the step's pictures and its Translations."""
        for way, watch in self.watches.items():
            real, fake = (b, moved.fake_b) if way == "ab" else (a, moved.fake_a)
            judge, fake = self.judges[way], mg.tensor(fake.detach(), requires_grad=True)
            logits = judge(fake)
            (push,) = mg.grad(((logits - 1) ** 2).mean(), [fake])
            with mg.no_grad():
                real_logits = judge(real)
            watch.pulse(real_logits, logits, None, float(np.sqrt(np.square(push.cpu().numpy()).sum())))

    def look(self, step: int, after: dict, last: bool = False) -> dict:
        """Where translations are drawn: `after` are those of all held-out pictures, {"ab": ..., "ba": ...}.

        Says what is new, writes all that was found so far, and gives the numbers to log.

        last: this look comes only because the run ends here, so it is not kept, as in `Health.look`."""
        before, numbers = self.state_dict() if last else None, {}
        for way, watch in self.watches.items():
            judge = self.judges[way]
            logits = [in_batches(judge, judge, rows, 50) for rows in (*self.real[way], after[way][:COMPARED])]
            new = watch.look(step, after[way], logits)
            numbers |= {f"health/{name}_{way}": value for name, value in watch.evidence.items()}
            for finding in new:
                self.run.say(f"{self.names[way]}, {finding}")
        self._write()
        self.said = self._words()
        if last:
            self.load_state_dict(before)
        return numbers

    def words(self) -> str:
        """What was found, for the report's summary."""
        return self.said or self._words()

    def state_dict(self) -> dict:
        """Both watches."""
        return {way: watch.state_dict() for way, watch in self.watches.items()}

    def load_state_dict(self, state: dict) -> None:
        """What `state_dict` gave."""
        for way, watch in self.watches.items():
            watch.load_state_dict(state[way])

    def _words(self) -> str:
        if not self.watches:
            return f"fewer than {LEAST} pictures of a kind: not judged"
        found = [f"{self.names[way]}: " + ", ".join(dict.fromkeys(finding.name for finding in watch.found))
                 for way, watch in self.watches.items() if watch.found]
        return "; ".join(found) or "nothing found wrong"

    def _broken(self, step: int, names: str):
        for watch in list(self.watches.values())[:1]:
            watch.broken(step, names)

    def _records(self):
        records = [{**record, "evidence": f"{self.names[way]}: {record['evidence']}" if record["name"] != "not finite"
                    else record["evidence"]} for way, watch in self.watches.items() for record in watch.records()]
        return sorted(records, key=lambda record: record["step"])
