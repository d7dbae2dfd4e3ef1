"""The claims of README and guide, judged.

* `claims`: the table of claims, and its judges
* `evidence`: what one layer, pool or network says about a claim
* `example_layers`: the layers on which claims are judged
* `toeplitz`: Toeplitz and circulant matrices by scipy.linalg, a second way to the matrix
* `student_question`: the question of the README
"""
