"""Steps through a plan as a screen refreshes: frames for the stimulus window's tests."""

from __future__ import annotations

from itertools import islice

from app.presentation import Frame, PresentationPlan, Show, Step


class Player:
    """Steps through a plan as the screen refreshes.

    Parameters
    ----------
    plan : PresentationPlan
    response_frames : int
        A press of the space bar counts as an answer to a catch up to so many frames after it.
    """

    def __init__(self, plan: PresentationPlan, *, response_frames: int = 90) -> None:
        self.plan = plan
        self.n_shown = self.n_catches = self.n_hits = self.n_false_alarms = 0
        self._response_frames = response_frames
        self._at = -1
        self._entered = 0
        self._index: int | None = None
        self._catch: int | None = None
        self._resumed = self._ended = False

    @property
    def step(self) -> Step | None:
        """The step on the screen; None before the first frame."""
        if self._at < 0:
            return None
        return self.plan.steps[self._at]

    @property
    def finished(self) -> bool:
        """Whether the last step has been reached, or the run was ended."""
        return self._ended or (self.step is not None and self.step.show is Show.END)

    @property
    def upcoming(self) -> str | None:
        """Label of the picture to have ready; None when no more come."""
        rest = islice(self.plan.steps, max(0, self._at), None)
        return next((each.label for each in rest if each.show is Show.STIMULUS), None)

    @property
    def on_break(self) -> bool:
        """Whether a break is on the screen."""
        return self.step is not None and self.step.show is Show.BREAK

    def advance(self, frame_index: int, due: float | None = None) -> Frame:
        """Say what refresh number `frame_index` shows, and the marker to stamp at its flip.

        When the frame is `due` matters to presentations that follow a clock, not to this one.

        The numbers grow; a number left out is a dropped frame. The same number again (a repaint)
        repeats the picture without its marker. Raises `ValueError` for a smaller one.
        """
        if self._index is not None and frame_index < self._index:
            raise ValueError(
                f"frame {frame_index} after frame {self._index}, expected growing numbers: "
                "make a new Player to begin again."
            )
        _ = due
        again = frame_index == self._index
        self._index = frame_index
        entered = not again and self._move(frame_index)
        return self._frame(frame_index, entered=entered)

    def resume(self) -> None:
        """End the break on the screen; outside of one it does nothing."""
        self._resumed = self.on_break

    def end(self) -> None:
        """End the run now: no further marker comes."""
        self._ended = True

    def respond(self) -> None:
        """Take the person's press of the space bar: an answer to a catch, or the end of a break."""
        if self.on_break:
            self.resume()
        elif self._catch is not None and self._index is not None:
            hit = self._index - self._catch <= self._response_frames
            self.n_hits += hit
            self.n_false_alarms += not hit
            self._catch = None
        else:
            self.n_false_alarms += 1

    def _move(self, frame_index: int) -> bool:
        """Go to the next step when the present one is over; say whether one was entered."""
        if self._ended or self._at == len(self.plan.steps) - 1:
            return False
        step = self.step
        if step is not None:
            over = step.duration is not None and frame_index - self._entered >= step.duration
            if not over and not (step.show is Show.BREAK and self._resumed):
                return False
        self._entered, self._resumed = frame_index, False
        self._at += 1
        return True

    def _frame(self, frame_index: int, *, entered: bool) -> Frame:
        step = self.step
        if self._ended or step is None:
            return Frame(frame_index, Show.END, changed=True, message="The end.")
        marker = step.label if entered else None
        if marker is not None:
            self.n_shown += step.show is Show.STIMULUS
            if step.show is Show.CATCH:
                self.n_catches += 1
                self._catch = frame_index
        return Frame(
            frame_index,
            step.show,
            step.label,
            marker,
            changed=entered,
            message=self._message(step),
            trial=step.trial,
        )

    def _message(self, step: Step) -> str:
        if step.show is Show.END:
            return "The end. Thank you."
        if step.show is not Show.BREAK:
            return ""
        words = "Press the space bar to go on."
        if step.trial == 0:
            return words.replace("go on", "begin")
        done = f"Break: {step.trial} of {self.plan.n_trials} done."
        return f"{done} {words}" if step.duration is None else f"{done} It goes on by itself."
