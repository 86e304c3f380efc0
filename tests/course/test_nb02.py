"""What notebook 02 draws says what it was given."""

from laseg_lib.course.nb02_two_stream_sampler import draw_visits


def test_draw_visits_says_how_many_were_never_seen():
    figure = draw_visits({1: 2, 2: 0}, {1: 1, 2: 1}, ("left", "right"))
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts == ["never seen: 1", "never seen: 0"]
