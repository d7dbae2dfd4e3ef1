"""Text, colours and plane layouts for whatever shows a layer; it knows no layer and no matplotlib.

* `example_sample`: the default x and dy of pictures
* `labels`: pixels i1, o1; weights w1 or by letter; terms of a sum
* `palette`: colours and their contrast
* `plane_layout`: an array of any number of axes laid out in the plane
* `tables`: tables as text, Markdown and HTML
"""
