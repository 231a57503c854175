"""A one-way link that drops, doubles, mixes and fills up as a real one does, moved by hand."""


class LossyLink:
    """Frames go in; `deliver` hands over what came through. `room` None: never full."""

    def __init__(self, random):
        self.random = random
        self.mode = "good"
        self.room = None
        self.under_way = []

    def send(self, frames):
        """Take frames in order; the rest, from the first that finds it full, are given back."""
        for index, frame in enumerate(frames):
            if self.room is not None and len(self.under_way) >= self.room:
                return frames[index:]
            if self.mode == "drop" and self.random.random() < 0.5:
                continue
            self.under_way.append(frame)
            if self.mode == "double" and self.random.random() < 0.5:
                self.under_way.append(frame)
        return []

    def cut(self):
        """All that is under way is lost: a reset of the connection."""
        self.under_way.clear()

    def deliver(self, limit=1_000_000):
        if self.mode == "mix":
            # Two connections of one sender, each in its order, read in turns.
            middle = self.random.randint(0, len(self.under_way))
            old, new = self.under_way[:middle], self.under_way[middle:]
            self.under_way = []
            while old or new:
                part = old if old and (not new or self.random.random() < 0.5) else new
                self.under_way.append(part.pop(0))
        taken, self.under_way = self.under_way[:limit], self.under_way[limit:]
        return taken

    def heal(self):
        self.mode, self.room = "good", None
