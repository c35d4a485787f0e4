"""Questions > **listing** > notebooks: a chapter to read, with its answers folded."""

from html import escape

from leyden.quiz.questions import LETTERS, Chapter, Question, chapter_of


class Listing:
    """A chapter's questions; a notebook shows them as HTML, a terminal as text without answers."""

    def __init__(self, chapter: Chapter) -> None:
        self.chapter = chapter

    def __repr__(self) -> str:
        questions = [f"{place}. {as_text(one)}" for place, one in enumerate(self.chapter.questions, 1)]
        return "\n\n".join([f"{self.chapter.number}. {self.chapter.title}", *questions])

    def _repr_html_(self) -> str:
        items = "".join(_as_html(question) for question in self.chapter.questions)
        return f"<h4>Now let's see if you've learned something</h4><ol>{items}</ol>"


def show(chapter: int) -> Listing:
    """The questions of a chapter, to be shown by a notebook.

    Raises:
        ValueError: there is no chapter of that number.
    """
    return Listing(chapter_of(chapter))


def as_text(question: Question) -> str:
    """A question with its options, or with how to find its number."""
    options = [f"   {LETTERS[place]}) {option.text}" for place, option in enumerate(question.options)]
    return "\n".join([question.asks, *options, *([f"   find it by: {question.run}"] if question.run else [])])


def _as_html(question: Question) -> str:
    options = "".join(f"<li>{escape(option.text)}</li>" for option in question.options)
    choices = f'<ol type="a">{options}</ol>' if options else f"<p>Find it by: <code>{escape(question.run)}</code></p>"
    wrong = [(option.text, option.says) for option in question.options if not option.right]
    wrong += [(f"{mistake.answer:.6g}", mistake.says) for mistake in question.mistakes]
    said = "".join(f"<li>{escape(text)} {escape(says)}</li>" for text, says in wrong)
    why = f"<p>{escape(question.says)}</p>" if question.says else ""
    answer = (
        f"<details><summary>Answer</summary><p><b>{escape(question.answer())}</b></p>{why}<ul>{said}</ul></details>"
    )
    return f"<li><p>{escape(question.asks)}</p>{choices}{answer}</li>"
