import cProfile, pstats
from tests.gui.test_views import *
from tests.gui.test_views import test_a_box_and_a_click_hit_what_they_are_drawn_on as body
def test_it(open_widget, qtbot):
    pr=cProfile.Profile(); pr.enable()
    body.__wrapped__ if hasattr(body,"__wrapped__") else None
    body("axial", open_widget, qtbot)
    pr.disable(); pstats.Stats(pr).sort_stats("cumulative").print_stats(45)
